"""The schema: one SQLModel class per table. Dumb rows; ``rows.py`` turns them into what the engine speaks.

Three conventions hold everywhere. Instants are integers, microseconds since 1970 in UTC, so that no dialect's idea of a
time zone matters. JSON is ASCII text, so that no value fits one database and not another. Rows refer to their run by the
short integer ``run.key``: steps of runs that are active together then lie together on few index pages, which is most
of what a commit costs.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar, cast

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from mcp_workflows.engine import records
from mcp_workflows.engine.states import RunStatus, StepStatus

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(instant: datetime) -> int:
    """Microseconds since 1970 of an aware ``instant``."""
    since = instant - EPOCH
    return (since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds


def instant(value: int) -> datetime:
    """The aware instant, in UTC, of microseconds since 1970."""
    return EPOCH + timedelta(microseconds=value)


class Instant(TypeDecorator[datetime]):
    """An aware instant, kept as microseconds since 1970."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        return None if value is None else micros(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else instant(value)


class Base(SQLModel, registry=registry(metadata=MetaData())):
    """Our tables stand in metadata of their own, whatever else uses SQLModel in the process."""

    metadata: ClassVar[MetaData] = MetaData()  # pyright: ignore[reportIncompatibleVariableOverride]


# SQLite numbers rows only in a column declared INTEGER PRIMARY KEY; PostgreSQL wants eight bytes.
BigKey = BigInteger().with_variant(Integer(), "sqlite")

# Compared by its code points, as SQLite does: what a language thinks of the order of letters has no place in a key.
Plain = Text().with_variant(Text(collation="C"), "postgresql")


def _one_of(column: str, members: Iterable[StrEnum]) -> CheckConstraint:
    allowed = ", ".join(f"'{member}'" for member in members)
    return CheckConstraint(f"{column} IN ({allowed})", name=f"{column}_known")


AT_ONCE = micros(records.AT_ONCE)
"""``claim_at`` of what any node may claim now, whatever the time is there."""

# The conditions of indexes, which queries must repeat word by word to be served by them.
FINISHED_ROOTS = "finished_at IS NOT NULL AND parent_run_id IS NULL"
NEEDS_INPUT = f"status = '{RunStatus.PAUSED}' OR waiting_for IS NOT NULL"
UNDOABLE = "undoable"


def _run_key(**kwargs: Any) -> Any:
    return Field(sa_type=BigKey, sa_column_args=[ForeignKey("run.key", ondelete="CASCADE")], nullable=False, **kwargs)


class Definition(Base, table=True):
    """One content of one workflow."""

    __table_args__ = (
        UniqueConstraint("name", "version"),
        UniqueConstraint("name", "digest"),
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=BigKey)
    name: str = Field(sa_type=Plain)
    version: int
    digest: str = Field(sa_type=Plain)
    content: str = Field(sa_type=Plain)
    created_at: datetime = Field(sa_type=Instant)


class Node(Base, table=True):
    """One incarnation of a process. ``beat`` counts its commits: it renews the lease, and tells whether a commit took place.

    ``report``: what it says of itself, from the beginning.
    """

    node_id: str = Field(primary_key=True, sa_type=Plain)
    name: str = Field(sa_type=Plain)
    pid: int
    started_at: datetime = Field(sa_type=Instant)
    beat: int = Field(sa_type=BigInteger)
    beat_at: datetime = Field(sa_type=Instant)
    ended_at: datetime | None = Field(default=None, sa_type=Instant)
    crashed: bool = False
    report: str | None = Field(default=None, sa_type=Plain)


class Run(Base, table=True):
    """One run. ``claim_at``: from when a node may claim it; ``wake_at`` is what the run itself waits for.

    ``parent_run_id``, ``parent_path`` and ``parent_generation`` are there together, of a child.
    """

    __table_args__ = (
        UniqueConstraint("run_id"),
        _one_of("status", RunStatus),
        Index("run_by_idempotency_key", "actor", "workflow", "idempotency_key", unique=True,
              sqlite_where=text("idempotency_key IS NOT NULL"), postgresql_where=text("idempotency_key IS NOT NULL")),
        Index("run_by_join_key", "join_key", sqlite_where=text("join_key IS NOT NULL"),
              postgresql_where=text("join_key IS NOT NULL")),
        Index("run_claimable", "claim_at", sqlite_where=text("owner IS NULL AND claim_at IS NOT NULL"),
              postgresql_where=text("owner IS NULL AND claim_at IS NOT NULL")),
        Index("run_by_owner", "owner", sqlite_where=text("owner IS NOT NULL"), postgresql_where=text("owner IS NOT NULL")),
        Index("run_by_status", "status", "key"),
        Index("run_by_actor", "actor", "key"),
        Index("run_by_parent", "parent_run_id", sqlite_where=text("parent_run_id IS NOT NULL"),
              postgresql_where=text("parent_run_id IS NOT NULL")),
        Index("run_finished", "finished_at", sqlite_where=text(FINISHED_ROOTS), postgresql_where=text(FINISHED_ROOTS)),
        Index("run_needs_input", "key", sqlite_where=text(NEEDS_INPUT), postgresql_where=text(NEEDS_INPUT)),
        {"sqlite_autoincrement": True},
    )  # fmt: skip

    key: int | None = Field(default=None, primary_key=True, sa_type=BigKey)
    run_id: str = Field(sa_type=Plain)
    workflow: str = Field(sa_type=Plain)
    version: int
    definition_id: int = Field(sa_type=BigKey, sa_column_args=[ForeignKey("definition.id")], nullable=False)
    actor: str = Field(sa_type=Plain)
    created_at: datetime = Field(sa_type=Instant)
    idempotency_key: str | None = Field(default=None, sa_type=Plain)
    join_key: str | None = Field(default=None, sa_type=Plain)
    input: str = Field(sa_type=Plain)
    parent_run_id: str | None = Field(default=None, sa_type=Plain)
    parent_path: str | None = Field(default=None, sa_type=Plain)
    parent_generation: int | None = None
    pins: str | None = Field(default=None, sa_type=Plain)
    owner: str | None = Field(default=None, sa_type=Plain, sa_column_args=[ForeignKey("node.node_id")])
    claim_at: datetime | None = Field(default=None, sa_type=Instant)
    recoveries: int = 0
    recovered_seq: int = Field(default=-1, sa_type=BigInteger)
    interrupted: bool = False
    status: str = Field(sa_type=Plain)
    output: str | None = Field(default=None, sa_type=Plain)
    error: str | None = Field(default=None, sa_type=Plain)
    compensation: str | None = Field(default=None, sa_type=Plain)
    undone: str | None = Field(default=None, sa_type=Plain)
    not_undone: str | None = Field(default=None, sa_type=Plain)
    stopping: str | None = Field(default=None, sa_type=Plain)
    ends_as: str | None = Field(default=None, sa_type=Plain)
    corrections: str | None = Field(default=None, sa_type=Plain)
    timeout_at: datetime | None = Field(default=None, sa_type=Instant)
    timeout_left: float | None = None
    wake_at: datetime | None = Field(default=None, sa_type=Instant)
    waiting_for: str | None = Field(default=None, sa_type=Plain)
    seq: int = Field(default=0, sa_type=BigInteger)
    started_at: datetime | None = Field(default=None, sa_type=Instant)
    finished_at: datetime | None = Field(default=None, sa_type=Instant)


class Step(Base, table=True):
    """One step of one run. ``parent`` is the list that it stands in: the steps of one list are one range of the key."""

    __table_args__ = (
        _one_of("status", StepStatus),
        Index("step_undoable", "run", sqlite_where=text(UNDOABLE), postgresql_where=text(UNDOABLE)),
    )

    run: int = _run_key(primary_key=True)
    parent: str = Field(primary_key=True, sa_type=Plain)
    path: str = Field(primary_key=True, sa_type=Plain)
    seq: int = Field(sa_type=BigInteger)
    kind: str = Field(sa_type=Plain)
    status: str = Field(sa_type=Plain)
    output: str | None = Field(default=None, sa_type=Plain)
    generation: int
    corrected: int
    attempts: int
    attempts_before: int
    in_doubt: bool
    started_at: datetime | None = Field(default=None, sa_type=Instant)
    finished_at: datetime | None = Field(default=None, sa_type=Instant)
    undoable: bool
    # What most steps have none of comes last: the store leaves it out where it is null.
    error: str | None = Field(default=None, sa_type=Plain)
    correction: str | None = Field(default=None, sa_type=Plain)
    now: datetime | None = Field(default=None, sa_type=Instant)
    due_at: datetime | None = Field(default=None, sa_type=Instant)
    decision: str | None = Field(default=None, sa_type=Plain)


class Attempt(Base, table=True):
    """One failed attempt."""

    run: int = _run_key(primary_key=True)
    path: str = Field(primary_key=True, sa_type=Plain)
    number: int = Field(primary_key=True)
    error: str = Field(sa_type=Plain)
    started_at: datetime = Field(sa_type=Instant)
    finished_at: datetime = Field(sa_type=Instant)


class Inbox(Base, table=True):
    """One message to one run, on record after it is consumed: who asked for what, when, and why.

    ``kept``: it came before the run waits for it. It can still be consumed, but wakes nobody any more.
    """

    __table_args__ = (
        UniqueConstraint("run", "dedupe_key"),
        Index(
            "inbox_unconsumed",
            "run",
            "kept",
            sqlite_where=text("consumed_at IS NULL"),
            postgresql_where=text("consumed_at IS NULL"),
        ),
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=BigKey)
    run: int = _run_key()
    kind: str = Field(sa_type=Plain)
    body: str = Field(sa_type=Plain)
    actor: str = Field(sa_type=Plain)
    reason: str | None = Field(default=None, sa_type=Plain)
    dedupe_key: str | None = Field(default=None, sa_type=Plain)
    received_at: datetime = Field(sa_type=Instant)
    consumed_at: datetime | None = Field(default=None, sa_type=Instant)
    kept: bool = False


class Blob(Base, table=True):
    """A part of content that is too large, or too binary, for a record. ``blob_id`` is made from the whole content: the same
    is there once in a run. Part 0 is written last: with it the blob is there. ``size`` is that of the whole.
    """

    run: int = _run_key(primary_key=True)
    blob_id: str = Field(primary_key=True, sa_type=Plain)
    part: int = Field(primary_key=True)
    content_type: str | None = Field(default=None, sa_type=Plain)
    size: int = Field(sa_type=BigInteger)
    data: bytes = Field(sa_type=LargeBinary)


class Setting(Base, table=True):
    """One value that all nodes of this database share."""

    name: str = Field(primary_key=True, sa_type=Plain)
    value: bytes = Field(sa_type=LargeBinary)


class Compatibility(Base, table=True):
    """One row: who may work with this schema. Written by migrations."""

    oldest_schema: int = Field(primary_key=True)
    """The lowest schema number whose program still works with this database."""
    oldest_version: str = Field(sa_type=Plain)
    """The lowest product version that has it."""


metadata = Base.metadata


def _table(row: type[Base]) -> Table:
    return cast("Table", getattr(row, "__table__"))  # noqa: B009  (SQLModel does not declare it)


definition = _table(Definition)
node = _table(Node)
run = _table(Run)
step = _table(Step)
attempt = _table(Attempt)
inbox = _table(Inbox)
blob = _table(Blob)
setting = _table(Setting)
compatibility = _table(Compatibility)
