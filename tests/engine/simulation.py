"""Drives a machine as a node would, against a world that is a pure function: no clock, no I/O, no luck.

The world says of each attempt how it ends and whether its effect took place. What the machine wants recorded goes into a
store of two dicts, from which another machine can be built at any moment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum

from mcp_workflows.definition.program import Definition, WorkflowWork
from mcp_workflows.engine.machine import Machine
from mcp_workflows.engine.moves import started
from mcp_workflows.engine.outcome import ChildStart, Completed, Failed, Outcome, Parked, StepCall, StepError
from mcp_workflows.engine.paths import parent_of
from mcp_workflows.engine.places import lists_to_undo, lists_wanted
from mcp_workflows.engine.records import AttemptRecord, Message, Outgoing, Run, RunRecord, StepRecord, Turn

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
    POLLED = "polled"
    """Accepted, and asked about later."""
    CALLED_BACK = "called back"
    """Accepted; the service calls."""

    @property
    def took_place(self) -> bool:
        return self in (Fate.DONE, Fate.LOST_AFTER, Fate.POLLED, Fate.CALLED_BACK)

    def outcome(self, call: StepCall) -> Outcome:
        done = Completed({"status": 200, "headers": {}, "body": {"from": call.path}})
        match self:
            case Fate.DONE:
                return done
            case Fate.POLLED:
                return Parked({"first": {}}, wake_after=20.0) if call.parked is None else done
            case Fate.CALLED_BACK:
                return Parked({"first": {}}, expires_after=500.0)
            case Fate.REFUSED:
                return Failed(StepError("http_422", "no", status=422))
            case Fate.BUSY:
                return Failed(StepError("http_503", "busy", status=503, retryable=True))
            case _:
                return Failed(StepError("reset", "no answer", in_doubt=True, retryable=True))


class Answer(Enum):
    """What comes from outside, for a step that waits for it."""

    YES = "yes"
    NO = "no"
    NEVER = "never"


@dataclass(frozen=True)
class World:
    """``fate`` of the attempt ``(path, number)``, ``answer`` to the wait ``(path, generation)``."""

    fate: Callable[[str, int], Fate]
    answer: Callable[[str, int], Answer] = lambda _path, _generation: Answer.YES

    def outcome(self, call: StepCall) -> Outcome:
        if isinstance(call.work, WorkflowWork):
            return Parked(None, child=ChildStart(call.work.name, 1, 2, {}))
        return self.fate(call.path, call.attempt).outcome(call)


@dataclass
class Simulation:
    """One run in one world. ``calls`` are the attempts made, in order; ``budget`` is that of each ``pump``."""

    definition: Definition
    world: World
    run: Run
    budget: int = 256
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
    answered: set[tuple[object, ...]] = field(default_factory=set[tuple[object, ...]])
    children: dict[str, str] = field(default_factory=dict[str, str])
    """Child runs and how they stand: ``running``, ``cancelled``, ``completed``, ``failed``, ``undoing``, ``compensated``."""
    detached: int = 0
    told: list[Outgoing] = field(default_factory=list[Outgoing])
    """Messages to other runs, each once: what has a key that was used before is not taken."""
    turns: int = 0
    cut_at: int | None = None
    """The process dies right after this turn is committed."""
    machine: Machine = field(init=False)

    @classmethod
    def of(cls, definition: Definition, world: World, budget: int = 256) -> Simulation:
        run = Run("r_test", definition.name, 1, 1, {}, "local", START, started(definition, START))
        simulation = cls(definition, world, run, budget)
        simulation.rebuild()
        return simulation

    @property
    def record(self) -> RunRecord:
        """As recorded."""
        return self.run.record

    @property
    def at_rest(self) -> bool:
        """Finished, waiting for a decision, or for something that nobody will send."""
        forever = self.record.status == "waiting" and self.machine.wake_at is None
        return self.settled or (forever and not self.inbox)

    @property
    def settled(self) -> bool:
        return self.record.status.finished or self.record.status == "paused"

    def fork(self) -> Simulation:
        """The same records, and a machine built from them. What was in flight is forgotten, as a kind crash would."""
        copy = Simulation(self.definition, self.world, self.run, self.budget, dict(self.steps), list(self.attempts))
        copy.calls, copy.happened, copy.now = list(self.calls), set(self.happened), self.now
        copy.sent, copy.inbox, copy.answered = self.sent, list(self.inbox), set(self.answered)
        copy.children, copy.detached, copy.told = dict(self.children), self.detached, list(self.told)
        copy.rebuild()
        return copy

    def rebuild(self, *, interrupted: bool = False) -> None:
        """Forget the machine and build it anew from the records."""
        self.flying.clear()
        run = self.run._replace(interrupted=interrupted)
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
            if survivors.get(call.path, False) and self._took_place(call):
                self.happened.add(call.path)
        self.rebuild(interrupted=True)

    def leave(self) -> None:
        """The node leaves before it has made the attempts that it was asked for, and another one goes on."""
        for call, _ in self.flying:
            self.machine.attempt_withheld(call)
        decisions = self.machine.pump(self.now, self.budget)
        assert not decisions.attempts
        if decisions.turn is not None:
            assert not decisions.turn.release or not self.flying
            self._commit(decisions.turn)
        self.rebuild()

    def pump(self) -> Turn | None:
        """Let the machine decide until it waits for something. Returns the last turn."""
        last = None
        while True:
            decisions = self.machine.pump(self.now, self.budget)
            if decisions.turn is not None:
                last = decisions.turn
                self._commit(decisions.turn)
            for call in decisions.attempts:
                self.calls.append(call)
                self.flying.append((call, self.now))
            if decisions.rebuild:
                assert not self.flying, "something is in flight while undoing begins"
                self.rebuild()
            elif not decisions.more:
                return last

    def end_one(self, which: int = 0) -> None:
        """One attempt in flight ends; by the order of paths, which is the same after a rebuild."""
        self.flying.sort(key=lambda flying: flying[0].path)
        call, started_at = self.flying.pop(which % len(self.flying))
        if self._took_place(call):
            self.happened.add(call.path)
        outcome = self.world.outcome(call)
        self.ended.append((call, outcome, started_at))
        self.machine.attempt_ended(call, outcome, started_at, self.now)

    def send(self, kind: str, **body: object) -> None:
        self.sent += 1
        message = Message(self.sent, "r_test", kind, body, "local", self.now)  # pyright: ignore[reportArgumentType]
        self.inbox.append(message)
        self.machine.receive(message, self.now)

    def answer_one(self) -> bool:
        """Somebody outside does what the run waits for; false when nobody will."""
        for run_id in sorted(self.children):
            if self._end_child(run_id):
                return True
        return any(self._answer(self.steps[path]) for path in sorted(self.steps))

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
        if self.settled and not self.flying:
            return False
        if self.flying:
            self.now += timedelta(milliseconds=10)
            self.end_one(which)
        elif not self.answer_one() and not self.pass_time():
            return False
        self.pump()
        return True

    def to_the_end(self, limit: int = 3000) -> None:
        for _ in range(limit):
            if not self.step():
                return
        raise AssertionError(f"no end after {limit} events: {self.record}")

    def _took_place(self, call: StepCall) -> bool:
        return not isinstance(call.work, WorkflowWork) and self.world.fate(call.path, call.attempt).took_place

    def _answer(self, record: StepRecord) -> bool:
        """Answer one wait, unless that was done or nobody will."""
        if record.kind == "signal":
            return record.status == "waiting" and self._signal()
        key = (record.path, record.generation, record.attempts_before + record.attempts)
        decision = record.decision or {}
        called = "parked" in decision and not decision.get("asked", True)
        if record.status != "waiting" or key in self.answered or not (called or record.kind == "approval"):
            return False
        answer = self.world.answer(record.path, record.generation)
        self.answered.add(key)
        if answer is Answer.NEVER:
            return False
        if record.kind == "approval":
            decision = "approved" if answer is Answer.YES else "rejected"
            self.send("answer", path=record.path, generation=record.generation, decision=decision, via="test")
        else:
            attempt = record.attempts_before + record.attempts + 1
            self.send("callback", path=record.path, attempt=attempt, body={"from": record.path})
        return True

    def _signal(self) -> bool:
        """One at a time, as long as somebody waits: of several that wait for one signal any may take it."""
        if any(message.kind == "signal" for message in self.inbox) or self.world.answer("paid", 1) is Answer.NEVER:
            return False
        self.send("signal", name="paid", data={"n": 1})
        return True

    def _end_child(self, run_id: str) -> bool:
        """A child that runs, or is told to stop or to undo, comes to its end."""
        path, generation, status = self._child(run_id)
        if status not in ("running", "cancelling", "undoing"):
            return False
        yes = self.world.answer(path, generation) is Answer.YES
        ends = {"running": "completed" if yes else "failed", "cancelling": "cancelled", "undoing": "compensated"}[
            status
        ]
        if status == "undoing" and not yes:
            ends = "failed"
        self.children[run_id] = f"{path}\n{generation}\n{ends}"
        self.send("child", path=path, generation=generation, run_id=run_id, status=ends, output={"child": run_id})
        return True

    def _child(self, run_id: str) -> tuple[str, int, str]:
        path, generation, status = self.children[run_id].split("\n")
        return path, int(generation), status

    def _commit(self, turn: Turn) -> None:
        for step in turn.steps:
            before = self.steps.get(step.path)
            assert before is None or _may_follow(before, step), f"{before} would be written over by {step}"
            self.steps[step.path] = step
        self.attempts.extend(turn.attempts)
        self.consumed.extend(turn.consumed)
        self.inbox = [message for message in self.inbox if message.message_id not in turn.consumed]
        for child in turn.children:
            if child.parent is None:
                self.detached += 1
            else:
                self.children.setdefault(child.run_id, f"{child.parent.path}\n{child.parent.generation}\nrunning")
        for message in turn.outgoing:
            if any(message[::3] == told[::3] for told in self.told):
                continue
            self.told.append(message)
            if message.run_id not in self.children:
                continue
            path, generation, status = self._child(message.run_id)
            told = {
                ("cancel", "running"): "cancelling",
                ("undo", "completed"): "undoing",
                ("undo", "failed"): "undoing",
            }
            after = told.get((message.kind, status), status)
            self.children[message.run_id] = f"{path}\n{generation}\n{after}"
        if turn.run is not None:
            self.run = self.run._replace(record=turn.run)
        self.turns += 1
        if self.turns == self.cut_at:
            raise Cut


def _may_follow(before: StepRecord, after: StepRecord) -> bool:
    """What the store lets through: a settled row gives way to another generation, to its undoing and to its handling."""
    if before.generation != after.generation:
        return after.generation > before.generation
    handled = before.status in ("failed", "in_doubt") and after.status == "completed" and after.error is not None
    undoing = after.status in ("compensating", "compensated")
    unchanged = (before.status, before.output) == (after.status, after.output)
    return not before.status.settled or before.status == "compensating" or handled or undoing or unchanged


class Cut(Exception):
    """The process died at the moment that a test had chosen."""
