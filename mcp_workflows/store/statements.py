"""What the writer says to the database, written once over the tables and compiled once per dialect.

The hot path hands these texts to the driver itself: SQLAlchemy's execution layer costs more per row than the row does.
Many rows go into one statement, because a driver lets go of the interpreter at every statement it runs: a busy event
loop would otherwise get its turn after every single row.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import chain
from types import SimpleNamespace
from typing import Any, Protocol, TypeAlias

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ClauseElement,
    Column,
    ColumnElement,
    Dialect,
    Select,
    Table,
    Update,
    and_,
    bindparam,
    case,
    exists,
    false,
    func,
    insert,
    literal_column,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.sql.compiler import SQLCompiler

from mcp_workflows.engine.states import FINISHED, RUN_MOVES, RunStatus, StepStatus
from mcp_workflows.store import tables
from mcp_workflows.store.rows import ATTEMPT_COLUMNS, RECORD_COLUMNS, SELDOM, STEP_COLUMNS, Values

SUSPECT_AFTER = 2
"""A run that was active at so many deaths in a row, without progress, may be what kills its nodes."""

CHUNKS = (64, 8, 1)
"""Rows of one insert statement; few sizes, so that the driver keeps them all prepared."""

run, step, node, inbox, blob = tables.run, tables.step, tables.node, tables.inbox, tables.blob

RUN_COLUMNS = tuple(run.columns.keys())
"""``key``, which the database gives, is the first."""
_MESSAGE_COLUMNS = tuple(name for name in inbox.columns.keys() if name not in {"id", "consumed_at"})  # noqa: SIM118
"""Of a new message."""


class Cursor(Protocol):
    """What the drivers' cursors have in common."""

    @property
    def rowcount(self) -> int: ...
    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Any: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...


Exclude: TypeAlias = Callable[[Cursor, Collection[int], Collection[str], Collection[str]], None]
"""Lets nobody else change runs, by key or by id, or make what is named, until the transaction ends."""


def no_exclusion(
    cursor: Cursor,
    keys: Collection[int],
    run_ids: Collection[str],
    names: Collection[str],
) -> None:
    """Where one writes at a time anyway."""


class RunRow(SimpleNamespace):
    """A row of ``run`` as the driver gives it: instants are integers."""

    @classmethod
    def of(cls, values: Sequence[Any]) -> RunRow:
        return cls(**dict(zip(RUN_COLUMNS, values, strict=True)))


class Prepared:
    """A statement as text, and the names of its parameters in the order in which the driver wants them."""

    def __init__(self, statement: ClauseElement, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        assert isinstance(compiled, SQLCompiler)
        self.sql = str(compiled)
        self._names = tuple(compiled.positiontup or ())
        self._fixed = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}

    def run(self, cursor: Cursor, **values: Any) -> int:
        """Executes, and answers with the number of rows changed. The caller may fetch from ``cursor`` afterwards."""
        cursor.execute(self.sql, self.parameters(values))
        return cursor.rowcount

    def parameters(self, values: Mapping[str, Any]) -> list[Any]:
        """In the order in which the driver wants them."""
        fixed = self._fixed
        return [fixed[name] if name in fixed else values[name] for name in self._names]


Each: TypeAlias = Callable[["Cursor", "Prepared", Sequence[Mapping[str, Any]]], list[Any]]
"""Executes a statement for each of many, in order; answers with all the rows that came back."""


def one_by_one(cursor: Cursor, statement: Prepared, many: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Where the database is in this process: nothing is gained by handing it several at once."""
    found: list[Any] = []
    for values in many:
        cursor.execute(statement.sql, statement.parameters(values))
        found += cursor.fetchall()
    return found


class Inserts(Protocol):
    """One insert, of any number of rows."""

    width: int

    def run(self, cursor: Cursor, rows: Sequence[Values]) -> int:
        """Writes ``rows`` in order; answers with the number of rows that were really written."""
        ...


Fill: TypeAlias = Callable[[Any], Any]
"""Gives an insert its rows."""
Bulk: TypeAlias = Callable[[Callable[[Fill], ClauseElement], Sequence[Column[Any]], Dialect], Inserts]
"""Makes an insert of rows with the given columns from what says all but the rows."""


class RowInserts:
    """One insert in several sizes, each value a parameter."""

    def __init__(
        self, build: Callable[[Fill], ClauseElement], columns: Sequence[Column[Any]], dialect: Dialect
    ) -> None:
        names = [column.name for column in columns]
        self.width = len(names)
        self.by_rows = {size: Prepared(build(partial(_many, names, size)), dialect).sql for size in CHUNKS}

    def run(self, cursor: Cursor, rows: Sequence[Values]) -> int:
        """Writes ``rows`` in order; answers with the number of rows that were really written."""
        written = start = 0
        for size in CHUNKS:
            sql = self.by_rows[size]
            while len(rows) - start >= size:
                cursor.execute(sql, list(chain.from_iterable(rows[start : start + size])))
                written += cursor.rowcount
                start += size
        return written


@dataclass(frozen=True, slots=True)
class StepInserts:
    """Of rows with and without the columns that are seldom there. A column that is not named is null, and is written so."""

    short: Inserts
    long: Inserts

    def run(self, cursor: Cursor, rows: Sequence[Values]) -> int:
        """Writes ``rows``, each another step; answers with the number of rows that were really written."""
        short = [row for row in rows if len(row) == self.short.width]
        if len(short) == len(rows):
            return self.short.run(cursor, rows)
        long = [row for row in rows if len(row) == self.long.width]
        return self.short.run(cursor, short) + self.long.run(cursor, long)


def _reachable(status: RunStatus) -> frozenset[RunStatus]:
    """From which states a run may get to ``status`` in one commit, which may hold several moves. None of them goes on
    from where the run finished: that is a commit of its own, and so is what reopens it.
    """
    sources = {status}
    through = [status]
    while through:
        target = through.pop()
        more = {source for source, targets in RUN_MOVES.items() if target in targets} - sources
        sources |= more
        through += more - FINISHED
    return frozenset(sources)


def _upsert_step(upsert: Callable[[Table], Any], fill: Fill) -> ClauseElement:
    """A step's row, replaced only where that loses nothing.

    An open row gives way to any news of its generation or a later one; a settled one to a later generation, to its
    undoing, to what it says already, or, being a failure, to what came of handling it.
    """
    statement = fill(upsert(step))
    new = statement.excluded
    still_open = step.c.status.in_(
        _literals(status for status in StepStatus if not status.settled or status is StepStatus.COMPENSATING)
    )
    unchanged = and_(new.status == step.c.status, new.output.is_not_distinct_from(step.c.output))
    undoing = new.status.in_(_literals([StepStatus.COMPENSATING, StepStatus.COMPENSATED]))
    failed = step.c.status.in_(_literals([StepStatus.FAILED, StepStatus.IN_DOUBT]))
    handled = and_(failed, new.status.in_(_literals([StepStatus.COMPLETED])), new.error.is_not(None))
    return statement.on_conflict_do_update(
        index_elements=["run", "parent", "path"],
        set_={name: new[name] for name in STEP_COLUMNS[3:]},
        where=or_(
            new.generation > step.c.generation,
            and_(new.generation == step.c.generation, or_(still_open, undoing, handled, unchanged)),
        ),
    )


def _upsert_attempt(upsert: Callable[[Table], Any], fill: Fill) -> ClauseElement:
    statement = fill(upsert(tables.attempt))
    return statement.on_conflict_do_update(
        index_elements=["run", "path", "number"],
        set_={name: statement.excluded[name] for name in ATTEMPT_COLUMNS[3:]},
    )


def _literals(members: Iterable[StrEnum]) -> list[ColumnElement[str]]:
    """Written into the text, so that rows are all the parameters there are."""
    return [literal_column(f"'{member}'") for member in sorted(members)]


def _many(columns: Sequence[str], rows: int, statement: Any) -> Any:
    return statement.values([{name: bindparam(f"row{row}_{name}") for name in columns} for row in range(rows)])


def _instant(name: str) -> BindParameter[int]:
    """A parameter that is an instant as an integer already."""
    return bindparam(name, type_=BigInteger())


_MINE = and_(run.c.key == bindparam("run_key"), run.c.owner == bindparam("me"))
_UNREAD = exists().where(inbox.c.run == run.c.key, inbox.c.consumed_at.is_(None), inbox.c.kept == false())
_AT_ONCE = literal_column(str(tables.AT_ONCE), BigInteger)
_LAST_SEQ = select(func.coalesce(func.max(step.c.seq), -1)).where(step.c.run == run.c.key).scalar_subquery()


def _update_run(status: RunStatus, *, release: bool) -> Update:
    """A run's row, in one of two ways: kept, or let go. One that is let go with mail unread can be claimed at once;
    mail that was laid aside for later does not count.
    """
    statement = update(run).where(_MINE, run.c.status.in_(_literals(_reachable(status))))
    values: dict[str, Any] = {name: bindparam(name) for name in RECORD_COLUMNS}
    if status is RunStatus.PAUSED or status in FINISHED:
        values["recoveries"] = 0  # a person decides: what they resume is tried afresh
    if release:
        values |= {
            "owner": None,
            "claim_at": case((_UNREAD, _AT_ONCE), else_=_instant("claim_at")),
            "interrupted": False,
        }
    return statement.values(values).returning(run.c.claim_at) if release else statement.values(values)


def _start(upsert: Callable[[Table], Any]) -> ClauseElement:
    """No row where another node has begun a run with the same idempotency key since this one looked."""
    statement = upsert(run).values({name: bindparam(name) for name in RUN_COLUMNS[1:]})
    return statement.on_conflict_do_nothing(
        index_elements=["actor", "workflow", "idempotency_key"], index_where=run.c.idempotency_key.is_not(None)
    ).returning(run.c.key)


def _insert_found(
    statement: Any, names: Sequence[str], found: Mapping[str, ColumnElement[Any]], *where: ColumnElement[bool]
) -> Any:
    """A row whose columns ``found`` are read from rows that are there; the others are parameters."""
    columns = statement.table.c
    values: list[Any] = [found[name] if name in found else bindparam(name, type_=columns[name].type) for name in names]
    chosen: Any = select(*values).where(*where)
    return statement.from_select(names, chosen)


def _start_child(upsert: Callable[[Table], Any]) -> ClauseElement:
    """Its actor and its pins are those of the run that starts it. A run that is there already is left as it is."""
    starter = run.alias("starter")
    statement = _insert_found(
        upsert(run), RUN_COLUMNS[1:], {"actor": starter.c.actor, "pins": starter.c.pins},
        starter.c.key == bindparam("run_key"),
    )  # fmt: skip
    return statement.on_conflict_do_nothing(index_elements=["run_id"])


def _send(upsert: Callable[[Table], Any]) -> ClauseElement:
    """From one run to another, in the name of the sender's actor. To a run that is not there any more, nothing."""
    sender, receiver = run.alias("sender"), run.alias("receiver")
    statement = _insert_found(
        upsert(inbox), _MESSAGE_COLUMNS, {"run": receiver.c.key, "actor": sender.c.actor},
        sender.c.key == bindparam("run_key"), receiver.c.run_id == bindparam("to"),
    )  # fmt: skip
    return statement.on_conflict_do_nothing(index_elements=["run", "dedupe_key"])


def _wake_receiver() -> Update:
    """A run that has finished has no use for what other runs tell it, but that it is to be undone."""
    return (
        update(run)
        .where(
            run.c.run_id == bindparam("to"),
            run.c.owner.is_(None),
            or_(run.c.status.not_in(_literals(FINISHED)), bindparam("kind") == literal_column("'undo'")),
        )
        .values(claim_at=_AT_ONCE)
    )


def _free(*extra: ColumnElement[bool], **values: Any) -> Update:
    """Everything a node holds is let go, for any node to claim now."""
    return (
        update(run)
        .where(run.c.owner == bindparam("node"), *extra)
        .values(owner=None, claim_at=_AT_ONCE, interrupted=True, **values)
    )


def claimable(*, suspects: bool, cannot: Collection[int], timed: bool = False) -> ColumnElement[bool]:
    """Runs that may be claimed at ``:now``: suspects, or all others. ``timed``: only those whose time has come, and not those
    that need no time to come.
    """
    suspect = run.c.recoveries >= SUSPECT_AFTER
    return and_(
        run.c.owner.is_(None),
        run.c.claim_at <= _instant("now"),
        run.c.claim_at > _AT_ONCE if timed else true(),
        suspect if suspects else ~suspect,
        run.c.definition_id.not_in([literal_column(str(int(which))) for which in sorted(cannot)]) if cannot else true(),
    )


Among: TypeAlias = Callable[[ColumnElement[Any], Select[Any]], ColumnElement[bool]]
"""That a value is one of few that a query finds."""


def is_in(value: ColumnElement[Any], found: Select[Any]) -> ColumnElement[bool]:
    return value.in_(found)


def claim(statements: Statements, *, suspects: bool, cannot: Collection[int], timed: bool = False) -> Prepared:
    """Of suspects those that were there at fewer deaths come first: whoever is first in line would be there at all of them."""
    in_order = [run.c.recoveries] if suspects else []
    due = (
        select(run.c.key)
        .where(claimable(suspects=suspects, cannot=cannot, timed=timed))
        .order_by(*in_order, run.c.claim_at, run.c.key)
        .limit(bindparam("at_most"))
        .with_for_update(skip_locked=True, key_share=True)
        .cte("due")  # a subquery might be run more than once, and lock more than the limit
    )
    claimed = update(run).where(statements.among(run.c.key, select(due.c.key))).values(owner=bindparam("me"))
    return Prepared(claimed.returning(run), statements.dialect)


class Statements:
    """All of them, for one dialect. ``upsert`` is the dialect's insert with ``on_conflict_do_update``."""

    def __init__(
        self,
        dialect: Dialect,
        upsert: Callable[[Table], Any],
        exclude: Exclude = no_exclusion,
        bulk: Bulk = RowInserts,
        each: Each = one_by_one,
        among: Among = is_in,
    ) -> None:
        self.exclude = exclude
        self.each = each
        self.among = among

        self.dialect = dialect
        self._upsert = upsert
        self._of_nodes()
        self._of_records(bulk)
        self._of_starts()
        self._of_messages()
        self._of_contents()

    def _prepare(self, statement: ClauseElement) -> Prepared:
        return Prepared(statement, self.dialect)

    def _of_nodes(self) -> None:
        """The life of nodes, and what the dead leave."""
        mine = node.c.node_id == bindparam("me")
        self.beat = self._prepare(
            update(node)
            .where(mine, node.c.ended_at.is_(None))
            .values(beat=bindparam("new_beat"), beat_at=bindparam("now"))
        )
        self.report = self._prepare(update(node).where(mine).values(report=bindparam("told")))
        # Waits for a transaction that was cut off and that the database still works at.
        self.last_beat = self._prepare(select(node.c.beat).where(mine).with_for_update(key_share=True))
        self.live_nodes = self._prepare(
            select(node.c.node_id, node.c.name, node.c.beat).where(node.c.ended_at.is_(None), ~mine)
        )
        self.insert_node = self._prepare(insert(node).values({name: bindparam(name) for name in node.columns.keys()}))  # noqa: SIM118
        self.forget_nodes = self._prepare(
            node.delete().where(node.c.ended_at < _instant("before"), ~exists().where(run.c.owner == node.c.node_id))
        )
        self.end_node = self._prepare(
            update(node)
            .where(node.c.node_id == bindparam("node"), node.c.ended_at.is_(None))
            .values(ended_at=bindparam("now"), crashed=bindparam("was_crash"))
        )
        still = select(node.c.node_id).where(
            node.c.node_id == bindparam("node"), node.c.ended_at.is_(None), node.c.beat == bindparam("seen")
        )
        # Whoever has its row at this moment is the node itself, which lives, or another who takes over.
        self.end_silent_node = self._prepare(
            update(node)
            .where(node.c.node_id.in_(still.with_for_update(key_share=True, skip_locked=True)))
            .values(ended_at=bindparam("now"), crashed=true())
        )
        self.free_left = self._prepare(_free())
        self.free_crashed = self._prepare(
            _free(
                recoveries=case((run.c.recovered_seq < _LAST_SEQ, 1), else_=run.c.recoveries + 1),
                recovered_seq=_LAST_SEQ,
            )
        )

    def _of_records(self, bulk: Bulk) -> None:
        """What a turn records."""
        short, long = (
            bulk(partial(_upsert_step, self._upsert), [step.c[name] for name in columns], self.dialect)
            for columns in (STEP_COLUMNS[: -len(SELDOM)], STEP_COLUMNS)
        )
        self.steps = StepInserts(short, long)
        self.attempts = bulk(partial(_upsert_attempt, self._upsert), list(tables.attempt.columns), self.dialect)
        self.keep_run = {s: self._prepare(_update_run(s, release=False)) for s in RunStatus if s not in FINISHED}
        self.release_run = {s: self._prepare(_update_run(s, release=True)) for s in RunStatus}
        self.consume = self._prepare(
            update(inbox)
            .where(
                inbox.c.id == bindparam("message"), inbox.c.run == bindparam("run_key"), inbox.c.consumed_at.is_(None)
            )
            .values(consumed_at=bindparam("now"))
        )
        self.keep = self._prepare(
            update(inbox)
            .where(
                inbox.c.id == bindparam("message"), inbox.c.run == bindparam("run_key"), inbox.c.consumed_at.is_(None)
            )
            .values(kept=true())
        )

    def _of_starts(self) -> None:
        """How runs begin, and find one another."""
        self.start = self._prepare(_start(self._upsert))
        self.start_child = self._prepare(_start_child(self._upsert))
        self.send = self._prepare(_send(self._upsert))
        self.wake_receiver = self._prepare(_wake_receiver())
        self.run_by_idempotency_key = self._prepare(
            select(run).where(
                run.c.actor == bindparam("by"),
                run.c.workflow == bindparam("of"),
                run.c.idempotency_key == bindparam("idempotency_key"),
            )
        )
        # Served by an index alone; asked only where the new run has to wait as well.
        self.queue_at = self._prepare(
            select(run.c.key)
            .where(run.c.status.in_(_literals([RunStatus.PENDING])))
            .order_by(run.c.key)
            .limit(1)
            .offset(bindparam("place"))
        )
        self.run_by_join_key = self._prepare(_joinable())
        self.run_by_run_id = self._prepare(select(run).where(run.c.run_id == bindparam("run_id")))

    def _of_messages(self) -> None:
        """What is sent to runs, and who moves them."""
        self.deliver = self._prepare(_deliver(self._upsert))
        self.delivered = self._prepare(
            select(inbox.c.id).where(inbox.c.run == bindparam("run_key"), inbox.c.dedupe_key == bindparam("dedupe_key"))
        )
        self.give_back = self._prepare(update(run).where(_MINE).values(owner=None))
        self.wake = self._prepare(
            update(run).where(run.c.key == bindparam("run_key"), run.c.owner.is_(None)).values(claim_at=_AT_ONCE)
        )
        self.holds_suspect = self._prepare(
            select(run.c.key)
            .where(run.c.owner == bindparam("me"), run.c.recoveries >= SUSPECT_AFTER, run.c.recovered_seq >= _LAST_SEQ)
            .limit(1)
        )

    def _of_contents(self) -> None:
        """Definitions, blobs, and what the database as a whole is told."""
        d = tables.definition
        self.definition_by_digest = self._prepare(
            select(d.c.id, d.c.version).where(d.c.name == bindparam("of"), d.c.digest == bindparam("digest"))
        )
        self.last_version = self._prepare(
            select(func.coalesce(func.max(d.c.version), 0)).where(d.c.name == bindparam("of"))
        )
        self.define = self._prepare(
            insert(d).values({name: bindparam(name) for name in d.columns.keys() if name != "id"}).returning(d.c.id)  # noqa: SIM118
        )
        self.put_blob = self._prepare(_put_blob(self._upsert))
        self.part_is_there = self._prepare(
            select(blob.c.size)
            .join(run, run.c.key == blob.c.run)
            .where(
                run.c.run_id == bindparam("of"),
                blob.c.blob_id == bindparam("blob_id"),
                blob.c.part == bindparam("part"),
            )
        )
        s = tables.setting
        self.put_setting = self._prepare(
            self._upsert(s)
            .values(name=bindparam("setting"), value=bindparam("new"))
            .on_conflict_do_nothing(index_elements=["name"])
        )
        self.setting = self._prepare(select(s.c.value).where(s.c.name == bindparam("setting")))


def _joinable() -> Select[Any]:
    return (
        select(run)
        .where(
            run.c.join_key == bindparam("join_key"),
            run.c.actor == bindparam("by"),
            run.c.workflow == bindparam("of"),
            or_(
                run.c.status.not_in(_literals(FINISHED)),
                run.c.finished_at >= _instant("since"),
            ),
        )
        .order_by(run.c.key.desc())
        .limit(1)
    )


def _put_blob(upsert: Callable[[Table], Any]) -> ClauseElement:
    statement = _insert_found(
        upsert(blob), list(blob.columns.keys()), {"run": run.c.key}, run.c.run_id == bindparam("of")
    )
    return statement.on_conflict_do_nothing(index_elements=["run", "blob_id", "part"])


def _deliver(upsert: Callable[[Table], Any]) -> ClauseElement:
    statement = upsert(inbox).values({name: bindparam(name) for name in _MESSAGE_COLUMNS})
    return statement.on_conflict_do_nothing(index_elements=["run", "dedupe_key"]).returning(inbox.c.id)
