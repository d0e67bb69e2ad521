"""What is remembered of a run: the values that pass between the engine and the store.

All instants are timezone-aware UTC. A record is a whole row: writing it again replaces the row of the same key. What a step or
a run costs several of is a named tuple, which is made in a third of the time that a frozen dataclass takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Literal, NamedTuple

from mcp_workflows.definition.program import Json
from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.states import RunStatus, StepStatus

CompensationOutcome = Literal["none", "done", "incomplete"]
NO_PINS: Mapping[str, tuple[int, int]] = MappingProxyType({})


class StepRecord(NamedTuple):
    """The row of one step, keyed by ``(run_id, path)``."""

    path: str
    seq: int
    """The place of this record among all of the run: the order in which steps were settled."""
    kind: str
    status: StepStatus
    output: Json = None
    error: StepError | None = None
    generation: int = 1
    corrected: int = 0
    """The generation of the last correction, 0 for none: part of the idempotency key."""
    correction: Json = None
    attempts: int = 0
    """Recorded attempts of this generation."""
    attempts_before: int = 0
    """Attempts of earlier generations."""
    in_doubt: bool = False
    """Some attempt may have had an effect that nobody has seen."""
    now: datetime | None = None
    """What ``run.now`` means in this step, where it asks."""
    due_at: datetime | None = None
    """Of a waiting step: until when."""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    decision: Mapping[str, Json] | None = None
    """What was decided while the step was open and is not decided again.

    Of ``switch`` ``{arm}``, of ``for_each`` ``{items, errors?}``, of ``repeat`` and its iterations ``{iteration, state}``, of
    ``approval`` ``{message, approvers?}``, of work that goes on elsewhere ``{parked, asked}``; of a block that stops
    ``{stopping}``, of a failure that ``on_error`` handles ``{handler}``, of a block without output, because its last step was
    skipped, ``{empty}``."""
    undoable: bool = False
    """Undoing the run concerns this step: it is done and has a compensation, or it is in doubt."""

    @property
    def handler(self) -> str | None:
        """The arm of ``on_error`` that handles the step's failure and has not come to its end."""
        failed = self.status in (StepStatus.FAILED, StepStatus.IN_DOUBT)
        return self.decision.get("handler") if failed and self.decision else None


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """A failed attempt, keyed by ``(run_id, path, number)``. A first attempt that succeeds has no row of its own."""

    path: str
    number: int
    error: StepError
    started_at: datetime
    finished_at: datetime


@dataclass(frozen=True, slots=True)
class Stopping:
    """The decision to start nothing more: why, and what was in flight when it was taken.

    A run stops for a ``cancel`` or its ``timeout``, a block that does several things at once because one of them failed
    or returned.
    """

    reason: Literal["cancel", "timeout", "failure", "return"]
    in_flight: tuple[str, ...] = ()
    compensate: bool = True
    """Of a cancel."""


AT_ONCE = datetime(1970, 1, 1, tzinfo=UTC)
"""The instant that is past by whatever clock: for what is to go on now, on a node whose clock may be an hour behind."""


class NotUndone(NamedTuple):
    """A step that could not be undone. ``why`` is for people."""

    path: str
    why: str
    in_doubt: bool = False
    """It may never have taken place, and nothing undoes it in that case: trying again is no use."""


class RunRecord(NamedTuple):
    """The part of a run's row that changes. The engine answers with a whole new one."""

    status: RunStatus
    output: Json = None
    error: StepError | None = None
    compensation: CompensationOutcome | None = None
    """Said of a finished run that did not complete."""
    undone: tuple[str, ...] = ()
    not_undone: tuple[NotUndone, ...] = ()
    stopping: Stopping | None = None
    ends_as: Literal["failed", "cancelled", "compensated"] | None = None
    """While compensating, and after: how the run ends."""
    corrections: Json = None
    """What ``resume`` merged into the input."""
    timeout_at: datetime | None = None
    timeout_left: float | None = None
    """Seconds; while the run's time does not pass."""
    wake_at: datetime | None = None
    """The earliest instant it waits for. The store keeps it for runs that nobody owns."""
    waiting_for: tuple[str, ...] = ()
    """Paths of the signals and approvals that it waits for now."""
    seq: int = 0
    """The place of its last step record, when this was recorded."""
    started_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ParentRun:
    """Whose child a run is: the step ``path`` of the run ``run_id``, in that step's ``generation``."""

    run_id: str
    path: str
    generation: int


class Run(NamedTuple):
    """A run's row: what it began with, and ``record``, where it stands now."""

    run_id: str
    workflow: str
    version: int
    definition_id: int
    input: Json
    actor: str
    created_at: datetime
    record: RunRecord
    idempotency_key: str | None = None
    owner: str | None = None
    recoveries: int = 0
    """How many nodes died in a row while this run was theirs and made no progress."""
    interrupted: bool = False
    """Its last owner went away with work possibly in flight."""
    parent: ParentRun | None = None
    pins: Mapping[str, tuple[int, int]] = NO_PINS
    """What it and its children start as children, by name: ``(definition_id, version)``. Fixed when the run begins."""


MessageKind = Literal["cancel", "resume", "signal", "answer", "callback", "child", "undo", "refusal"]


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of a run's inbox. What ``body`` holds depends on the kind:

    - cancel ``{compensate, via}``; resume ``{path, generation, input?, request?, output?, skip?, again?, via, ended?}``,
      with the run's ``seq`` instead of the first two where no step had failed, ``ended`` where the run had ended, and
      ``children``: by path, what failed children gave that were resumed since and completed
    - signal ``{name, data}``; answer (to an approval) ``{path, generation, decision, note?, form?, via}``
    - callback ``{path, attempt, body}``
    - child (a child's end, to its parent) ``{path, generation, run_id, status, output?, error?, compensation?}``
    - undo (to a completed child, from its parent) ``{}``
    - refusal (an answer that was not taken; for the record, and consumed from the start) ``{wait, why, via}``
    """

    message_id: int
    run_id: str
    kind: MessageKind
    body: Mapping[str, Json]
    actor: str
    received_at: datetime
    reason: str | None = None


class Outgoing(NamedTuple):
    """A message that a run sends to another one. ``dedupe_key`` is unique within the receiver's inbox."""

    run_id: str
    kind: MessageKind
    body: Mapping[str, Json]
    dedupe_key: str


class NewChild(NamedTuple):
    """A run to be inserted as pending, with the parent's input validated. It inherits the parent's actor and pins."""

    run_id: str
    workflow: str
    version: int
    definition_id: int
    input: Json
    parent: ParentRun | None
    """``None``: a detached child."""


class Turn(NamedTuple):
    """All that one run has to record at once: committed together or not at all."""

    run_id: str
    steps: Sequence[StepRecord] = ()
    attempts: Sequence[AttemptRecord] = ()
    run: RunRecord | None = None
    consumed: Sequence[int] = ()
    """Inbox messages that these decisions took in."""
    release: bool = False
    """The run waits: no node owns it after this commit."""
    kept: Sequence[int] = ()
    """Inbox messages that came before the run waits for them: they stay unconsumed and wake nobody any more."""
    children: Sequence[NewChild] = ()
    outgoing: Sequence[Outgoing] = ()
