"""Looking: every read, in a few threads on connections of their own, each seeing one state of the database."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import product
from typing import Any, TypeVar, cast

from sqlalchemy import ColumnElement, Connection, Engine, and_, case, false, func, or_, select, text, true
from sqlalchemy.exc import DBAPIError

from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.paths import COMPENSATE
from mcp_workflows.engine.records import AttemptRecord, Message, Run, StepRecord
from mcp_workflows.engine.states import FINISHED, RunStatus, StepStatus
from mcp_workflows.errors import InputRefused, StoreUnavailable
from mcp_workflows.store import rows, tables
from mcp_workflows.store.database import Database
from mcp_workflows.store.retention import is_withdrawn
from mcp_workflows.store.trouble import READING, Trouble
from mcp_workflows.store.values import Claimable, Mark, NodeReport, NodeRow, RunFilter, RunList, StoredDefinition
from mcp_workflows.store.wording import claimable

T = TypeVar("T")

THREADS = 4

PORTION = 500
"""How many lists, and how many runs, one query asks for."""

OPEN = 100
"""How many open steps are named at most."""

_NO_STEPS = ("branch", "item", "iteration")
_BLOCKS = ("switch", "parallel", "for_each", "repeat")
_ANSWERED = ("signal", "approval")

_CURSOR = re.compile(r"[0-9]{1,18}")

_run, _step, _attempt, _inbox, _node = tables.run, tables.step, tables.attempt, tables.inbox, tables.node


class Reads:
    """One pool of threads, each with a connection."""

    def __init__(self, database: Database, trouble: Trouble) -> None:
        self._trouble = trouble
        self._database = database
        self._engine: Engine = database.engine(THREADS)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="mcp-workflows-reads")

    async def __call__(self, query: Callable[..., T], /, *arguments: Any) -> T:
        """``query(connection, *arguments)`` in a thread. ``StoreUnavailable``: the database cannot be read."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, query, arguments)

    def close(self) -> None:
        """Under the write lock: the last connection that is closed checkpoints."""
        self._threads.shutdown(wait=True)
        self._engine.dispose()

    def _read(self, query: Callable[..., T], arguments: tuple[Any, ...]) -> T:
        try:
            try:
                found = self._query(query, arguments)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                found = self._query(query, arguments)  # the server had closed the connection; a new one may do
        except DBAPIError as error:
            said = self._database.explain(error.orig or error)
            self._trouble.begin(READING, said)
            raise StoreUnavailable(said) from error
        self._trouble.end(READING)
        return found

    def _query(self, query: Callable[..., T], arguments: tuple[Any, ...]) -> T:
        with self._engine.begin() as connection:
            return query(connection, *arguments)


def _key_of(run_id: str) -> Any:
    return select(_run.c.key).where(_run.c.run_id == run_id).scalar_subquery()


def run(connection: Connection, run_id: str, actor: str | None) -> Run | None:
    if not rows.is_plain(run_id):
        return None
    owned = true() if actor is None else _run.c.actor == actor
    row = connection.execute(select(_run).where(_run.c.run_id == run_id, owned)).one_or_none()
    return None if row is None else rows.run(row)


def run_ids(connection: Connection, prefix: str, actor: str | None) -> list[str]:
    """Up to ten ids that begin with ``prefix``, of ``actor``'s runs or of all."""
    if not prefix or not prefix.isascii() or not rows.is_plain(prefix):
        return []
    beyond = prefix[:-1] + chr(ord(prefix[-1]) + 1)  # a range, so that an index serves, and no character is special
    found = connection.execute(
        select(_run.c.run_id)
        .where(_run.c.run_id >= prefix, _run.c.run_id < beyond, true() if actor is None else _run.c.actor == actor)
        .order_by(_run.c.run_id)
        .limit(10)
    )
    return list(found.scalars())


def marks(connection: Connection, run_ids: Collection[str]) -> dict[str, Mark]:
    """Of each run that is there. What is counted here grows with a run's steps, but only while it has not ended."""
    wanted = sorted(one for one in set(run_ids) if rows.is_plain(one))
    found: dict[str, Mark] = {}
    for some in _portions(wanted):
        found |= _marks(connection, some)
    return found


def _marks(connection: Connection, run_ids: Sequence[str]) -> dict[str, Mark]:
    asked = [getattr(_run.c, name) for name in ("key", "run_id", *rows.RECORD_COLUMNS)]
    runs = connection.execute(select(*asked).where(_run.c.run_id.in_(run_ids))).all()
    open_keys = [row.key for row in runs if row.status not in FINISHED]
    counted = select(
        _step.c.run,
        func.count(),
        func.max(_step.c.seq),
        func.sum(_step.c.attempts + _step.c.attempts_before),
        func.count(_step.c.finished_at),
    )
    steps = {
        row[0]: tuple(row)
        for row in connection.execute(counted.where(_step.c.run.in_(open_keys)).group_by(_step.c.run))
    }
    last = select(_inbox.c.run, func.max(_inbox.c.id)).where(_inbox.c.run.in_([row.key for row in runs]))
    told = {row[0]: row[1] for row in connection.execute(last.group_by(_inbox.c.run))}
    return {row.run_id: (tuple(row), steps.get(row.key), told.get(row.key)) for row in runs}


def steps(connection: Connection, run_id: str) -> list[StepRecord]:
    return _steps(connection, run_id)


def steps_in(connection: Connection, wanted: Mapping[str, Collection[str]]) -> dict[str, list[StepRecord]]:
    """Of each run those that stand in its lists. Runs that want the same lists are asked for together."""
    alike: dict[frozenset[str], list[str]] = {}
    for run_id, lists in wanted.items():
        alike.setdefault(frozenset(lists), []).append(run_id)
    found: dict[str, list[StepRecord]] = {run_id: [] for run_id in wanted}
    for lists, run_ids in alike.items():
        for some_lists, some_runs in product(_portions(sorted(lists)), _portions(run_ids)):
            for run_id, record in _steps_in(connection, some_lists, some_runs):
                found[run_id].append(record)
        if len(lists) > PORTION:
            for run_id in run_ids:
                found[run_id].sort(key=lambda record: (record.seq, record.path))
    return found


def _steps_in(connection: Connection, lists: Sequence[str], run_ids: Sequence[str]) -> Iterator[tuple[str, StepRecord]]:
    keys = select(_run.c.key, _run.c.run_id).where(_run.c.run_id.in_([one for one in run_ids if rows.is_plain(one)]))
    run_id_of = {row.key: row.run_id for row in connection.execute(keys)}
    found = connection.execute(
        select(_step)
        .where(_step.c.run.in_(list(run_id_of)), _step.c.parent.in_(lists))
        .order_by(_step.c.seq, _step.c.path)
    )
    return ((run_id_of[row.run], rows.step_record(row)) for row in found)


def _portions(of: Sequence[str]) -> Iterator[Sequence[str]]:
    return (of[start : start + PORTION] for start in range(0, len(of), PORTION))


def undoable_steps(connection: Connection, run_id: str) -> list[StepRecord]:
    return _steps(connection, run_id, text(tables.UNDOABLE))


def waiting_steps(connection: Connection, run_id: str) -> list[StepRecord]:
    return _steps(connection, run_id, _step.c.status == StepStatus.WAITING, _step.c.kind.in_(_ANSWERED))


def open_steps(connection: Connection, run_id: str) -> list[tuple[str, StepError | None]]:
    elsewhere = _step.c.decision.is_not(None)  # what goes on there may keep the error of an attempt before
    again = and_(_step.c.attempts > 0, _step.c.status == StepStatus.WAITING, ~elsewhere)
    found = connection.execute(
        select(_step.c.path, case((again, _step.c.error)))
        .where(
            _step.c.run == _key_of(run_id),
            _step.c.status.in_([status for status in StepStatus if not status.settled]),
            _step.c.kind.not_in(_BLOCKS),
        )
        .order_by(_step.c.seq, _step.c.path)
        .limit(OPEN)
    )
    return [(path, rows.step_error(error)) for path, error in found]


def completed_steps(connection: Connection, run_id: str) -> int:
    count = (
        select(func.count())
        .select_from(_step)
        .where(
            _step.c.run == _key_of(run_id),
            _step.c.status == StepStatus.COMPLETED,
            _step.c.kind.not_in(_NO_STEPS),
            ~_step.c.path.contains(COMPENSATE, autoescape=True),
        )
    )
    return connection.execute(count).scalar_one()


def completed_paths(connection: Connection, run_id: str, kinds: Collection[str]) -> list[str]:
    found = connection.execute(
        select(_step.c.path)
        .where(
            _step.c.run == _key_of(run_id),
            _step.c.status == StepStatus.COMPLETED,
            _step.c.kind.in_(sorted(kinds)),
            _step.c.error.is_(None),
        )
        .order_by(_step.c.seq.desc(), _step.c.path)
    )
    return list(found.scalars())


def last_change(connection: Connection, run_id: str) -> datetime | None:
    latest_step = select(func.max(_step.c.started_at), func.max(_step.c.finished_at)).where(
        _step.c.run == _key_of(run_id)
    )
    latest_message = select(func.max(_inbox.c.received_at)).where(_inbox.c.run == _key_of(run_id))
    instants = [*connection.execute(latest_step).one(), connection.execute(latest_message).scalar_one()]
    return max((when for when in cast("list[datetime | None]", instants) if when is not None), default=None)


def _steps(connection: Connection, run_id: str, *conditions: Any) -> list[StepRecord]:
    """In the order in which they were settled."""
    found = connection.execute(
        select(_step).where(_step.c.run == _key_of(run_id), *conditions).order_by(_step.c.seq, _step.c.path)
    )
    return [rows.step_record(row) for row in found]


def attempts(connection: Connection, run_id: str) -> list[AttemptRecord]:
    found = connection.execute(
        select(_attempt)
        .where(_attempt.c.run == _key_of(run_id))
        .order_by(_attempt.c.finished_at, _attempt.c.path, _attempt.c.number)
    )
    return [rows.attempt_record(row) for row in found]


def messages(connection: Connection, run_id: str, unconsumed_only: bool) -> list[Message]:
    unread = _inbox.c.consumed_at.is_(None) if unconsumed_only else true()
    return _messages(connection, and_(_run.c.run_id == run_id, unread))


def messages_of(connection: Connection, run_id: str, kinds: Sequence[str]) -> list[Message]:
    return _messages(connection, and_(_run.c.run_id == run_id, _inbox.c.kind.in_(kinds)))


def count_messages(connection: Connection, run_id: str, kind: str) -> int:
    where = and_(_inbox.c.run == _key_of(run_id), _inbox.c.kind == kind)
    return connection.execute(select(func.count()).where(where)).scalar_one()


def unconsumed(connection: Connection, run_ids: Sequence[str]) -> list[Message]:
    found: list[Message] = []
    for some in _portions(run_ids):
        found += _messages(connection, and_(_run.c.run_id.in_(some), _inbox.c.consumed_at.is_(None)))
    return found


def unread(connection: Connection, run_id: str) -> tuple[int, int]:
    size = func.coalesce(func.sum(func.length(_inbox.c.body)), 0)
    where = and_(_inbox.c.run == _key_of(run_id), _inbox.c.consumed_at.is_(None))
    count, characters = connection.execute(select(func.count(), size).where(where)).one()
    return count, characters


def owned_messages(connection: Connection, node_id: str) -> list[Message]:
    unread = and_(_inbox.c.consumed_at.is_(None), _inbox.c.kept == false())
    return _messages(connection, and_(_run.c.owner == node_id, unread))


def _messages(connection: Connection, where: ColumnElement[bool]) -> list[Message]:
    found = connection.execute(
        select(_inbox, _run.c.run_id).join(_run, _run.c.key == _inbox.c.run).where(where).order_by(_inbox.c.id)
    )
    return [rows.message(row) for row in found]


def consumed(connection: Connection, message_id: int) -> bool:
    done = or_(_inbox.c.consumed_at.is_not(None), _inbox.c.kept)
    return connection.execute(select(_inbox.c.id).where(_inbox.c.id == message_id, done)).first() is not None


def blob(connection: Connection, run_id: str, blob_id: str) -> tuple[bytes, str | None] | None:
    table = tables.blob
    found = connection.execute(
        select(table.c.part, table.c.data, table.c.content_type)
        .where(table.c.run == _key_of(run_id), table.c.blob_id == blob_id)
        .order_by(table.c.part)
    ).all()
    if not found or found[0].part != 0:  # somebody is putting it there, or was cut off
        return None
    return b"".join(part.data for part in found), rows.from_text(found[0].content_type)


def definition(connection: Connection, definition_id: int) -> StoredDefinition:
    table = tables.definition
    found = connection.execute(
        select(table.c.name, table.c.version, table.c.content).where(table.c.id == definition_id)
    )
    return StoredDefinition(*found.one())


def anything_claimable(connection: Connection, now: int, cannot: Collection[int]) -> bool:
    """Cheap, and without the write lock: asked far more often than anything is there."""
    either = [claimable(suspects=suspects, cannot=cannot) for suspects in (False, True)]
    return any(
        connection.execute(select(_run.c.key).where(one).limit(1), {"now": now}).first() is not None for one in either
    )


def claimable_runs(connection: Connection, now: int, limit: int, cannot: Collection[int]) -> list[Claimable]:
    """The first of them, in due order."""
    found = connection.execute(
        select(_run.c.key, _run.c.workflow, _run.c.version)
        .where(claimable(suspects=None, cannot=cannot))
        .order_by(_run.c.claim_at, _run.c.key)
        .limit(limit),
        {"now": now},
    )
    return [Claimable(*row) for row in found]


def next_claimable(connection: Connection, now: datetime) -> datetime | None:
    """When the next run that nobody owns falls due, after ``now``."""
    soonest = select(func.min(_run.c.claim_at)).where(_run.c.owner.is_(None), _run.c.claim_at > now)
    return connection.execute(soonest).scalar_one()


def living_nodes(connection: Connection) -> list[Any]:
    """``(node_id, name, beat)`` of those that have not ended."""
    return list(
        connection.execute(select(_node.c.node_id, _node.c.name, _node.c.beat).where(_node.c.ended_at.is_(None)))
    )


def reports(connection: Connection) -> dict[str, NodeReport]:
    """Of the nodes that are up and have said something, the longest-running first."""
    told = select(_node.c.node_id, _node.c.report).where(_node.c.ended_at.is_(None))
    found = connection.execute(told.order_by(_node.c.started_at, _node.c.node_id))
    return {row.node_id: report for row in found if (report := rows.node_report(row.report)) is not None}


def has_ended(connection: Connection, node_id: str) -> bool:
    """It was declared dead, or has left."""
    return (
        connection.execute(
            select(_node.c.node_id).where(_node.c.node_id == node_id, _node.c.ended_at.is_(None))
        ).one_or_none()
        is None
    )


def nodes(connection: Connection) -> list[NodeRow]:
    owned = select(func.count()).select_from(_run).where(_run.c.owner == _node.c.node_id).scalar_subquery()
    found = connection.execute(select(_node, owned.label("runs")).order_by(_node.c.started_at.desc()))
    return [_node_row(row) for row in found]


def _node_row(row: Any) -> NodeRow:
    report = rows.node_report(row.report)
    return NodeRow(
        row.node_id, row.name, row.pid, row.started_at, row.beat_at, row.ended_at, bool(row.crashed), row.runs, report
    )


def queued(connection: Connection) -> int:
    """How many runs have not begun."""
    return connection.execute(select(func.count()).where(_run.c.status == RunStatus.PENDING)).scalar_one()


def runs(connection: Connection, query: RunFilter) -> RunList:
    """One page, and one more row to know whether there is another."""
    found = connection.execute(
        select(_run).where(*_conditions(query)).order_by(_run.c.key.desc()).limit(query.limit + 1)
    ).all()
    page: Sequence[Any] = found[: query.limit]
    more = str(page[-1].key) if page and len(found) > query.limit else None
    return RunList([rows.run(row) for row in page], more)


def _conditions(query: RunFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [_of_status(query.status), ~is_withdrawn(_run.c.run_id)]
    for column, wanted in (
        (_run.c.workflow, query.workflow), (_run.c.actor, query.actor), (_run.c.idempotency_key, query.idempotency_key),
    ):  # fmt: skip
        if wanted is not None:
            conditions.append(column == wanted if rows.is_plain(wanted) else false())
    if query.since is not None:
        conditions.append(_run.c.created_at >= query.since)
    if query.cursor is not None:
        if not _CURSOR.fullmatch(query.cursor):
            raise InputRefused(f'cursor: "{query.cursor}" is not a next_cursor that list_runs gave.')
        conditions.append(_run.c.key < int(query.cursor))
    return conditions


def _of_status(asked: str) -> ColumnElement[bool]:
    match asked:
        case "any":
            return true()
        case "open":
            return _run.c.status.in_(sorted(set(RunStatus) - FINISHED))
        case "needs_input":
            return text(f"({tables.NEEDS_INPUT})")  # pyright: ignore[reportReturnType]
        case _ if asked in set(RunStatus):
            return _run.c.status == asked
        case _:
            allowed = ", ".join(["open", "needs_input", "any", *RunStatus])
            raise InputRefused(f'status: "{asked}" is not one of {allowed}.')
