"""Runs: one, some, those that can be claimed, a page of them; and the definitions that they are pinned to."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, exists, false, func, or_, select, text, true

from mcp_workflows.engine.records import Run
from mcp_workflows.engine.states import FINISHED, RunStatus
from mcp_workflows.errors import InputRefused
from mcp_workflows.store import rows, tables
from mcp_workflows.store.reads.portions import portions
from mcp_workflows.store.retention import is_withdrawn
from mcp_workflows.store.values import Claimable, Ending, Mark, RunFilter, RunList, StoredDefinition
from mcp_workflows.store.wording import claimable

_run, _step, _inbox = tables.run, tables.step, tables.inbox

_CURSOR = re.compile(r"[0-9]{1,18}")


def key_of(run_id: str) -> Any:
    """The store's own name of the run, within a query."""
    return select(_run.c.key).where(_run.c.run_id == run_id).scalar_subquery()


def run(connection: Connection, run_id: str, actor: str | None) -> Run | None:
    if not rows.is_plain(run_id):
        return None
    owned = true() if actor is None else _run.c.actor == actor
    row = connection.execute(select(_run).where(_run.c.run_id == run_id, owned)).one_or_none()
    return None if row is None else rows.run(row)


def children(connection: Connection, run_id: str, statuses: Collection[RunStatus], limit: int) -> list[Run]:
    # First all of them and then those that stand so, of which there may be very many that are no children of this one.
    all_ = (
        select(_run.c.key, _run.c.status).where(_run.c.parent_run_id == run_id).cte("all_").prefix_with("MATERIALIZED")
    )
    some = select(all_.c.key).where(all_.c.status.in_(sorted(statuses))).order_by(all_.c.key).limit(limit)
    found = connection.execute(select(_run).where(_run.c.key.in_(some)).order_by(_run.c.key))
    return [rows.run(row) for row in found]


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
    for some in portions(wanted):
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


def ending_runs(connection: Connection, now: int, limit: int, of: Collection[int]) -> list[Ending]:
    """The first of them, in due order, that began with one of these definitions."""
    told = exists().where(
        _inbox.c.run == _run.c.key, _inbox.c.consumed_at.is_(None), _inbox.c.kind.in_(["cancel", "undo"])
    )
    ends = or_(told, _run.c.status == RunStatus.COMPENSATING.value, _run.c.stopping.is_not(None))
    found = connection.execute(
        select(_run.c.key, _run.c.definition_id, _run.c.status != RunStatus.PENDING.value)
        .where(claimable(suspects=None, cannot=()), _run.c.definition_id.in_(of), ends)
        .order_by(_run.c.claim_at, _run.c.key)
        .limit(limit),
        {"now": now},
    )
    return [Ending(*row) for row in found]


def next_claimable(connection: Connection, now: datetime) -> datetime | None:
    """When the next run that nobody owns falls due, after ``now``."""
    soonest = select(func.min(_run.c.claim_at)).where(_run.c.owner.is_(None), _run.c.claim_at > now)
    return connection.execute(soonest).scalar_one()


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


def definition(connection: Connection, definition_id: int) -> StoredDefinition:
    table = tables.definition
    found = connection.execute(
        select(table.c.name, table.c.version, table.c.content).where(table.c.id == definition_id)
    )
    return StoredDefinition(*found.one())
