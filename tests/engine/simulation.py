"""Drives a machine as a node would, against a world that is a pure function: no clock, no I/O, no luck.

The world says of each attempt how it ends and whether its effect took place. What the machine wants recorded goes into a
store of two dicts, from which another machine can be built at any moment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum

from mcp_workflows.definition.program import Definition
from mcp_workflows.engine.machine import Machine
from mcp_workflows.engine.moves import started
from mcp_workflows.engine.outcome import Completed, Failed, Outcome, StepCall, StepError
from mcp_workflows.engine.paths import parent_of
from mcp_workflows.engine.places import lists_to_undo, lists_wanted
from mcp_workflows.engine.records import AttemptRecord, Message, Run, RunRecord, StepRecord, Turn

START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


class Fate(Enum):
    """How an attempt goes: does its effect take place, and what does the caller learn?"""

    DONE = "done"
    REFUSED = "refused"
    """Definitely without effect, not worth another attempt."""
    BUSY = "busy"
    """Definitely without effect, worth another attempt."""
    LOST_BEFORE = "lost before"
    """No answer; the effect did not take place."""
    LOST_AFTER = "lost after"
    """No answer; the effect took place."""

    @property
    def took_place(self) -> bool:
        return self in (Fate.DONE, Fate.LOST_AFTER)

    def outcome(self, path: str) -> Outcome:
        match self:
            case Fate.DONE:
                return Completed({"status": 200, "headers": {}, "body": {"from": path}})
            case Fate.REFUSED:
                return Failed(StepError("http_422", "no", status=422))
            case Fate.BUSY:
                return Failed(StepError("http_503", "busy", status=503, retryable=True))
            case _:
                return Failed(StepError("reset", "no answer", in_doubt=True, retryable=True))


World = Callable[[StepCall], Fate]


@dataclass
class Simulation:
    """One run in one world. ``calls`` are the attempts made, in order."""

    definition: Definition
    world: World
    run: Run
    steps: dict[str, StepRecord] = field(default_factory=dict[str, StepRecord])
    attempts: list[AttemptRecord] = field(default_factory=list[AttemptRecord])
    calls: list[StepCall] = field(default_factory=list[StepCall])
    happened: set[str] = field(default_factory=set[str])
    """Paths of steps whose effect took place at least once."""
    flying: list[tuple[StepCall, datetime]] = field(default_factory=list[tuple[StepCall, datetime]])
    ended: list[tuple[StepCall, Outcome, datetime]] = field(default_factory=list[tuple[StepCall, Outcome, datetime]])
    now: datetime = START
    consumed: list[int] = field(default_factory=list[int])
    sent: int = 0
    inbox: list[Message] = field(default_factory=list[Message])
    """Messages that are not consumed."""
    machine: Machine = field(init=False)

    @classmethod
    def of(cls, definition: Definition, world: World) -> Simulation:
        run = Run("r_test", definition.name, 1, 1, {}, "local", START, started(definition, START))
        simulation = cls(definition, world, run)
        simulation.rebuild()
        return simulation

    @property
    def record(self) -> RunRecord:
        """As recorded."""
        return self.run.record

    @property
    def at_rest(self) -> bool:
        """Finished, or waiting for a decision."""
        return self.record.status.finished or self.record.status == "paused"

    def fork(self) -> Simulation:
        """The same records, and a machine built from them. What was in flight is forgotten, as a kind crash would."""
        copy = Simulation(
            self.definition, self.world, self.run, dict(self.steps), list(self.attempts), list(self.calls)
        )
        copy.happened = set(self.happened)
        copy.now = self.now
        copy.sent, copy.inbox = self.sent, list(self.inbox)
        copy.rebuild()
        return copy

    def rebuild(self, *, interrupted: bool = False) -> None:
        """Forget the machine and build it anew from the records."""
        self.flying.clear()
        run = replace(self.run, interrupted=interrupted)
        self.machine = Machine(self.definition, run, self.load(), variables={})
        for message in self.inbox:
            self.machine.receive(message, self.now)
        self.machine.begin(self.now)

    def load(self) -> list[StepRecord]:
        """As a node loads: no more lists than the engine asks for."""
        record = self.run.record
        undoing = record.status == "compensating" or record.compensation == "incomplete"
        wanted = lists_to_undo if undoing else lists_wanted
        memo = {path: step for path, step in self.steps.items() if undoing and step.undoable}
        loaded: set[str] = set()
        while more := wanted(self.definition, memo) - loaded:
            loaded |= more
            memo |= {path: step for path, step in self.steps.items() if parent_of(path) in more}
        return list(memo.values())

    def crash(self, survivors: Mapping[str, bool]) -> None:
        """The process dies; ``survivors`` says of each path in flight whether the request was carried out all the same."""
        for call, _ in self.flying:
            if survivors.get(call.path, False) and self.world(call).took_place:
                self.happened.add(call.path)
        self.rebuild(interrupted=True)

    def pump(self) -> Turn | None:
        """Let the machine decide until it waits for something. Returns the last turn."""
        last = None
        while True:
            decisions = self.machine.pump(self.now)
            if decisions.turn is not None:
                last = decisions.turn
                self._commit(decisions.turn)
            for call in decisions.attempts:
                self.calls.append(call)
                self.flying.append((call, self.now))
            if decisions.rebuild:
                self.rebuild()
            elif not decisions.more:
                return last

    def end_one(self, which: int = 0) -> None:
        """One attempt in flight ends."""
        call, started_at = self.flying.pop(which % len(self.flying))
        fate = self.world(call)
        if fate.took_place:
            self.happened.add(call.path)
        outcome = fate.outcome(call.path)
        self.ended.append((call, outcome, started_at))
        self.machine.attempt_ended(call, outcome, started_at, self.now)

    def send(self, kind: str, **body: object) -> None:
        self.sent += 1
        message = Message(self.sent, "r_test", kind, body, "local", self.now)  # pyright: ignore[reportArgumentType]
        self.inbox.append(message)
        self.machine.receive(message, self.now)

    def pass_time(self) -> bool:
        """Jump to the next instant that the run waits for; false when there is none."""
        due_at = self.machine.wake_at
        if due_at is None:
            return False
        self.now = max(self.now, due_at)
        self.machine.advance(self.now)
        return True

    def step(self, which: int = 0) -> bool:
        """Let the next thing happen; false when nothing can."""
        self.pump()
        if self.at_rest and not self.flying:
            return False
        if self.flying:
            self.now += timedelta(milliseconds=10)
            self.end_one(which)
        elif not self.pass_time():
            return False
        self.pump()
        return True

    def to_the_end(self, limit: int = 500) -> None:
        for _ in range(limit):
            if not self.step():
                return
        raise AssertionError(f"no end after {limit} events: {self.record}")

    def _commit(self, turn: Turn) -> None:
        for step in turn.steps:
            self.steps[step.path] = step
        self.attempts.extend(turn.attempts)
        self.consumed.extend(turn.consumed)
        self.inbox = [message for message in self.inbox if message.message_id not in turn.consumed]
        if turn.run is not None:
            self.run = replace(self.run, record=turn.run)
