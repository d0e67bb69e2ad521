"""One run without services: the engine as it is, answers in the place of attempts, and a clock that jumps over waits.

What the engine wants recorded is kept here as a store would keep it, and where a node would drop the run and take it up
again later (it waits, it is undone, its process died) a new machine is built from those records, as a node does.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

from mcp_workflows.definition.program import Json
from mcp_workflows.engine.machine import Decisions, Machine
from mcp_workflows.engine.moves import started
from mcp_workflows.engine.outcome import Outcome, StepCall
from mcp_workflows.engine.paths import COMPENSATE
from mcp_workflows.engine.records import Message, MessageKind, Outgoing, ParentRun, Run, RunRecord, StepRecord
from mcp_workflows.steps.attempt import Attempt
from mcp_workflows.testing.outline import Outline
from mcp_workflows.testing.records import Records
from mcp_workflows.testing.requests import attempt_of
from mcp_workflows.testing.result import Call, Result, TestBroken, result_of

START = datetime(2026, 1, 1, tzinfo=UTC)
RUN_ID = "r_test"
MAX_EVENTS = 20_000
"""Attempts, messages and timers of one test."""


class ChildEnd(NamedTuple):
    """How a child run ends, and after how many seconds."""

    status: str
    output: Json = None
    error: Json = None
    compensation: str | None = None
    seconds: float = 0.0


class Ended(NamedTuple):
    """How an attempt ends, and after how many seconds. Without an outcome the process dies then.

    ``child``: how the run ends that the attempt starts.
    """

    outcome: Outcome | None
    request: Json
    seconds: float = 0.0
    child: ChildEnd | None = None


class World(Protocol):
    """Stands for the services. Raises ``TestBroken`` where the test has no answer."""

    def respond(self, attempt: Attempt, now: datetime) -> Ended: ...

    def undo(self, path: str, now: datetime) -> ChildEnd:
        """How the child that the step at ``path`` had started undoes itself."""
        ...


@dataclass(frozen=True, slots=True)
class Moment:
    """The run as an event that is planned finds it."""

    run: Run
    records: Records
    outline: Outline
    now: datetime
    in_flight: bool

    @property
    def record(self) -> RunRecord:
        return self.run.record

    @property
    def waits(self) -> Mapping[str, StepRecord]:
        """The signals and approvals that the run waits for, by path."""
        return {path: self.records.all[path] for path in self.record.waiting_for}

    @property
    def needed(self) -> Mapping[str, StepRecord]:
        """What a machine of this run begins with."""
        return self.records.needed(self.outline.definition, self.record)


@dataclass(frozen=True, slots=True)
class Planned:
    """Something from outside. It takes place ``at`` seconds after the start, or as soon as it ``fits``.

    ``message`` gives its kind and body, and raises ``TestBroken`` where a server would refuse it.
    """

    fits: Callable[[Moment], bool]
    message: Callable[[Moment], tuple[MessageKind, Mapping[str, Json]]]
    actor: str = "tester"
    at: float | None = None


class _Flight(NamedTuple):
    """Something that ends by itself: an attempt, or a child run."""

    ends_at: datetime
    order: int
    end: Callable[[], None]
    child: str | None = None
    """The child's run id. A child outlives the process."""


@dataclass
class Simulation:
    """One run. ``now`` is the fake clock."""

    outline: Outline
    input: Json
    variables: Mapping[str, Json]
    world: World
    planned: Sequence[Planned] = ()
    starts_at: datetime = START
    now: datetime = field(init=False)
    _run: Run = field(init=False)
    _machine: Machine = field(init=False)
    _records: Records = field(default_factory=Records)
    _calls: list[Call] = field(default_factory=list[Call])
    _flying: list[_Flight] = field(default_factory=list[_Flight])
    _flights: int = 0
    _child_ends: dict[str, ChildEnd] = field(default_factory=dict[str, ChildEnd])
    """By path, of the children that are about to be started."""
    _parents: dict[str, ParentRun] = field(default_factory=dict[str, ParentRun])
    """By the child's run id."""
    _inbox: dict[int, Message] = field(default_factory=dict[int, Message])
    """Messages that no decision has taken in."""
    _sent: int = 0
    _left: list[int] = field(default_factory=list[int])
    """Positions of ``planned`` that are still to come."""
    _dormant: bool = False
    """The run was released: no node holds a machine of it."""

    def __post_init__(self) -> None:
        definition = self.outline.definition
        self.now = self.starts_at
        self._left = list(range(len(self.planned)))
        record = started(definition, self.now)
        self._run = Run(RUN_ID, definition.name, 1, 1, self.input, "tester", self.now, record)
        self._build()

    def to_the_end(self) -> Result:
        """Until nothing moves the run any more. Raises ``TestBroken``."""
        for _ in range(MAX_EVENTS):
            self._settle()
            if not self._next():
                took = self.now - self.starts_at
                return result_of(self._run.record, self._records.all, self._calls, took, tuple(self._left))
        where = ", ".join(self._machine.under_way) or str(self._run.record.status)
        raise TestBroken(f"the run has not ended after {MAX_EVENTS:,} events; it stands at {where}")

    # What the machine decides

    def _settle(self) -> None:
        while not self._dormant:
            decisions = self._machine.pump(self.now)
            self._commit(decisions)
            for call in decisions.attempts:
                self._start(call)
            if decisions.rebuild:
                self._build()
            elif not decisions.more:
                return

    def _commit(self, decisions: Decisions) -> None:
        turn = decisions.turn
        if turn is None:
            return
        self._records.keep(turn.steps)
        for message_id in turn.consumed:
            self._inbox.pop(message_id, None)
        if turn.run is not None:
            self._run = self._run._replace(record=turn.run)
        self._dormant = turn.release
        for child in turn.children:
            if child.parent is not None:
                self._parents[child.run_id] = child.parent
                self._child_ends_as(child.run_id, self._child_ends.pop(child.parent.path))
        for outgoing in turn.outgoing:
            self._send_to_child(outgoing)

    def _start(self, call: StepCall) -> None:
        attempt = attempt_of(call)
        ended = self.world.respond(attempt, self.now)
        self._calls.append(Call(call.path, call.attempt, ended.request, self.now - self.starts_at))
        if ended.child is not None:
            self._child_ends[call.path] = ended.child
        started_at = self.now
        self._fly(ended.seconds, lambda: self._end_attempt(call, ended.outcome, started_at))

    def _end_attempt(self, call: StepCall, outcome: Outcome | None, started_at: datetime) -> None:
        if outcome is None:
            self._flying = [flight for flight in self._flying if flight.child is not None]
            heapq.heapify(self._flying)
            self._build(interrupted=True)
        else:
            self._machine.attempt_ended(call, outcome, started_at, self.now)

    def _fly(self, seconds: float, end: Callable[[], None], child: str | None = None) -> None:
        self._flights += 1
        ends_at = self.now + timedelta(seconds=seconds)
        heapq.heappush(self._flying, _Flight(ends_at, self._flights, end, child))

    # Children: their ends come as messages

    def _send_to_child(self, outgoing: Outgoing) -> None:
        parent = self._parents[outgoing.run_id]
        if outgoing.kind == "undo":
            self._calls.append(Call(parent.path + COMPENSATE, 1, None, self.now - self.starts_at))
            self._child_ends_as(outgoing.run_id, self.world.undo(parent.path, self.now))
        elif outgoing.kind == "cancel":
            self._flying = [flight for flight in self._flying if flight.child != outgoing.run_id]
            heapq.heapify(self._flying)
            self._child_ends_as(outgoing.run_id, ChildEnd("cancelled", compensation="done"))

    def _child_ends_as(self, run_id: str, end: ChildEnd) -> None:
        parent = self._parents[run_id]
        body = {
            "path": parent.path,
            "generation": parent.generation,
            "run_id": run_id,
            "status": end.status,
            "output": end.output,
            "error": end.error,
            "compensation": end.compensation,
        }
        self._fly(end.seconds, lambda: self._receive("child", body, run_id), run_id)

    def _build(self, *, interrupted: bool = False) -> None:
        """A machine from the records, with the messages that wait in the inbox."""
        run = self._run._replace(interrupted=interrupted)
        records = self._records.needed(self.outline.definition, run.record).values()
        self._machine = Machine(self.outline.definition, run, records, variables=self.variables)
        self._dormant = False
        self._machine.begin(self.now)
        for message in self._inbox.values():
            self._machine.receive(message, self.now)

    # What happens next

    def _next(self) -> bool:
        """Let the next thing happen; false when nothing can."""
        if self._give_planned():
            return True
        if self._run.record.status.finished:
            return self._jump_to_resume()
        instants = [self._at(number) for number in self._left if self.planned[number].at is not None]
        if self._flying:
            instants.append(self._flying[0].ends_at)
        due_at = self._run.record.wake_at if self._dormant else self._machine.wake_at
        if due_at is not None:
            instants.append(due_at)
        if not instants:
            return False
        self.now = max(self.now, min(instants))
        if any(self.planned[number].at is not None and self._at(number) <= self.now for number in self._left):
            return True  # what comes from outside counts before a timer of the same instant
        if self._flying and self._flying[0].ends_at <= self.now:
            heapq.heappop(self._flying).end()
        elif self._dormant:
            self._build()
        self._machine.advance(self.now)
        return True

    def _jump_to_resume(self) -> bool:
        """A run that has failed may be resumed at a later hour; nothing else happens to one that has ended."""
        moment = self._moment()
        hours = [self._at(n) for n in self._left if self.planned[n].at is not None and self.planned[n].fits(moment)]
        if not hours:
            return False
        self.now = max(self.now, min(hours))
        return True

    def _moment(self) -> Moment:
        in_flight = any(flight.child is None for flight in self._flying)
        return Moment(self._run, self._records, self.outline, self.now, in_flight)

    def _at(self, number: int) -> datetime:
        return self.starts_at + timedelta(seconds=self.planned[number].at or 0.0)

    def _give_planned(self) -> bool:
        moment = self._moment()
        for number in self._left:
            planned = self.planned[number]
            ready = planned.fits(moment) if planned.at is None else self._at(number) <= self.now
            if ready and not self._run_is_over(planned, moment):
                self._left.remove(number)
                self._deliver(planned, moment)
                return True
        return False

    def _run_is_over(self, planned: Planned, moment: Moment) -> bool:
        """Whether the event comes too late for this run."""
        return self._run.record.status.finished and not planned.fits(moment)

    def _deliver(self, planned: Planned, moment: Moment) -> None:
        kind, body = planned.message(moment)
        self._receive(kind, body, planned.actor)
        self._machine.advance(self.now)

    def _receive(self, kind: MessageKind, body: Mapping[str, Json], actor: str) -> None:
        self._sent += 1
        message = Message(self._sent, RUN_ID, kind, body, actor, self.now)
        self._inbox[message.message_id] = message
        if self._dormant:
            self._build()
        else:
            self._machine.receive(message, self.now)
