"""What surfaces see of a run: plain, frozen values, the same for agents, people and scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from mcp_workflows.asking.waiting import Waiting
from mcp_workflows.definition.program import Json
from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.records import AttemptRecord, CompensationOutcome, NotUndone, StepRecord
from mcp_workflows.engine.states import RunStatus


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: settled steps, and the paths of those under way."""

    completed: int
    running: tuple[str, ...] = ()
    retrying: tuple[tuple[str, str], ...] = ()
    """``(path, why)`` of those that wait to be tried again, of a run that this node does not move now."""


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as it stands. ``error`` is of the step that failed, in ``error.step``; ``wake_at`` what a waiting run waits for."""

    run_id: str
    workflow: str
    version: int
    status: RunStatus
    input: Json
    created_at: datetime
    actor: str
    progress: Progress | None = None
    """``None`` where nobody counted: in lists, and of completed runs."""
    result: Json = None
    error: StepError | None = None
    compensation: CompensationOutcome | None = None
    undone: tuple[str, ...] = ()
    not_undone: tuple[NotUndone, ...] = ()
    """Those ``doubted`` among them."""
    wake_at: datetime | None = None
    waits: tuple[str, ...] = ()
    """Paths of the signals and approvals that it waits for; in lists too."""
    waiting_for: tuple[Waiting, ...] = ()
    """The same, told so that they can be answered; not in lists."""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    idempotency_key: str | None = None
    owner: str | None = None
    joined: bool = False
    """This call joined a run that an earlier call had started."""
    retry_helps: bool = False
    """Of a failed or paused run: the same again may succeed."""
    once_in_doubt: bool = False
    """Of a failed or paused run: its step must run at most once and may have; somebody must find out before it goes on."""
    would_undo: tuple[str, ...] = ()
    """Of a paused run: what ``cancel`` would undo, in that order."""
    stays: tuple[str, ...] | None = ()
    """Of a run that is paused or did not complete: completed steps that may have changed something which nothing undoes, the
    last one first, then those of its children, as ``charge of r_…``. Of a paused run: what ``cancel`` would leave. ``None``:
    none that is known, but it has too many children to look at, or one of a definition that cannot be read here."""
    stranded: str | None = None
    """Of a run that nobody moves now, and that no server which is up could: what they lack."""
    skippable: bool = False
    """Of a paused run: the step that failed may be left out, as nothing needs its output."""
    resumed: int = 0
    """Of a paused run: how often somebody asked for it to be resumed before."""

    @property
    def doubted(self) -> tuple[str, ...]:
        """Of what was not undone: steps that may never have taken place, and that have nothing to undo them in that case."""
        return tuple(one.path for one in self.not_undone if one.in_doubt)


@dataclass(frozen=True, slots=True)
class Trace:
    """Everything recorded of a run, for people: steps in the order in which they were settled."""

    run: RunView
    steps: Sequence[StepRecord]
    attempts: Sequence[AttemptRecord]
    messages: Sequence[TraceMessage]


@dataclass(frozen=True, slots=True)
class TraceMessage:
    """A message to the run: who asked for what, when, and why."""

    kind: str
    actor: str
    received_at: datetime
    reason: str | None
    body: Json


@dataclass(frozen=True, slots=True)
class Asking:
    """One wait of a run, as the person who is to answer needs to see it."""

    run: RunView
    title: str
    description: str
    wait: Waiting | None
    """``None``: the run never asked that, or asks it anew by now."""
    is_open: bool
    """The run waits for it still."""
    expired_at: datetime | None
    """When its time was over, and nobody had answered."""
    answer: TraceMessage | None
    """What it was answered with."""
    steps: Sequence[StepRecord]
    """What happened so far in the lists that the step stands in, in the order in which it was settled."""


@dataclass(frozen=True, slots=True)
class Past:
    """What lies behind a run and cannot be seen of it any more."""

    ended: bool = False
    """It had ended before, and goes on, or went on, since."""
    refusals: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    """By what was asked: why each answer to it was not taken."""


@dataclass(frozen=True, slots=True)
class RunQuery:
    """What ``list_runs`` filters by. ``status``: ``open``, ``needs_input``, ``any`` or a status of a run."""

    workflow: str | None = None
    status: str = "open"
    idempotency_key: str | None = None
    since: datetime | None = None
    actor: str | None = None
    limit: int = 10
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class RunPage:
    """A page of runs, newest first."""

    runs: Sequence[RunView]
    next_cursor: str | None = None
