"""The values that cross the store's edge, beside the records of ``engine.records``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeAlias

from mcp_workflows.definition.program import Json
from mcp_workflows.engine.records import ParentRun, Run, RunRecord, Turn


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be started, or joined where the same one is there already.

    ``join_key`` says which runs are the same work (of one actor and workflow); a run of it that is not finished is
    joined, and one that finished at or after ``join_since``. ``own``: this node moves the run from its first moment.
    ``pins``: what it and its children start as children, by name ``(definition_id, version)``.
    """

    run_id: str
    workflow: str
    version: int
    definition_id: int
    input: Json
    actor: str
    created_at: datetime
    record: RunRecord
    idempotency_key: str | None = None
    join_key: str | None = None
    join_since: datetime | None = None
    own: bool = True
    parent: ParentRun | None = None
    pins: Mapping[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    ended: Turn | None = None
    """The one turn of a run that comes to its end at once, for it only computes: recorded together with its row."""

    def run(self, owner: str | None) -> Run:
        """As it is once it is recorded."""
        record = self.record if self.ended is None or self.ended.run is None else self.ended.run
        return Run(
            self.run_id, self.workflow, self.version, self.definition_id, self.input, self.actor, self.created_at, record,
            self.idempotency_key, owner, parent=self.parent, pins=self.pins,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class StartResult:
    """The run that is there now. ``joined``: an earlier call had started it."""

    run: Run
    joined: bool


class Delivered(NamedTuple):
    """A message of the inbox. ``new`` is false where an earlier delivery with the same ``dedupe_key`` put it there."""

    message_id: int
    new: bool


Mark: TypeAlias = tuple[Any, ...]
"""What a run's records add up to: another mark than before means that something was recorded of it since."""


class StoredDefinition(NamedTuple):
    """One version of a workflow, as it was when runs were started from it."""

    name: str
    version: int
    content: str


@dataclass(frozen=True, slots=True)
class TakenOver:
    """A dead node whose runs were set free. ``runs`` is their number."""

    node_id: str
    name: str
    runs: int


class RunFilter(Protocol):
    """Which runs to list. What is ``None`` does not filter.

    ``status``: ``open``, ``needs_input``, ``any``, or a status of a run. ``since``: created then or later. ``cursor`` is
    the ``next_cursor`` of the page before.
    """

    @property
    def workflow(self) -> str | None: ...
    @property
    def status(self) -> str: ...
    @property
    def idempotency_key(self) -> str | None: ...
    @property
    def since(self) -> datetime | None: ...
    @property
    def actor(self) -> str | None: ...
    @property
    def limit(self) -> int: ...
    @property
    def cursor(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class RunList:
    """One page of runs, newest first."""

    runs: Sequence[Run]
    next_cursor: str | None = None


class Tree(NamedTuple):
    """A run that is nobody's child, and all that it and its children started: ids, its own the first."""

    run_ids: Sequence[str]


class Expired(NamedTuple):
    """A page of trees that finished before an instant. ``after``: where the next page begins, if there is one."""

    trees: Sequence[Tree]
    after: tuple[datetime, int] | None


class Claimable(NamedTuple):
    """A run that nobody owns and that is due. ``key`` is the store's own name for it."""

    key: int
    workflow: str
    version: int


class Ending(NamedTuple):
    """A claimable run that somebody wants ended, or whose end has begun. ``begun``: it has done something already."""

    key: int
    definition_id: int
    begun: bool


class Unable(NamedTuple):
    """A definition that a node cannot move, and what it lacks for that."""

    workflow: str
    version: int
    why: str


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What a node says of itself: what it is there for, its limits, what it leaves to others, and where it can be called."""

    role: str
    """``server``, ``runner``, ``starter`` or ``observer``, as ``app.Role`` says."""
    max_runs: int
    """How many runs it moves at the same time; none: it is there to look, or to start runs for others."""
    max_attempts: int
    max_attempts_per_host: int
    cannot: tuple[Unable, ...] = ()
    served_at: str | None = None
    """Its address for others, while it serves over HTTP; ``None``: nobody can call it, as on stdio."""


@dataclass(frozen=True, slots=True)
class NodeRow:
    """One incarnation of a server process. ``beat_at`` is its own clock's, for people."""

    node_id: str
    name: str
    pid: int
    started_at: datetime
    beat_at: datetime
    ended_at: datetime | None
    crashed: bool
    runs: int
    """How many runs it owns."""
    report: NodeReport | None = None
    """``None``: it said nothing."""
