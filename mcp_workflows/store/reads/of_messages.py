"""What was sent to runs, and what of it they have taken in."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, and_, false, func, or_, select, true

from mcp_workflows.engine.records import Message
from mcp_workflows.store import rows, tables
from mcp_workflows.store.reads.of_runs import key_of
from mcp_workflows.store.reads.portions import portions

_run, _inbox = tables.run, tables.inbox


def messages(connection: Connection, run_id: str, unconsumed_only: bool) -> list[Message]:
    unread = _inbox.c.consumed_at.is_(None) if unconsumed_only else true()
    return _messages(connection, and_(_run.c.run_id == run_id, unread))


def messages_of(connection: Connection, run_id: str, kinds: Sequence[str]) -> list[Message]:
    return _messages(connection, and_(_run.c.run_id == run_id, _inbox.c.kind.in_(kinds)))


def count_messages(connection: Connection, run_id: str, kind: str) -> int:
    where = and_(_inbox.c.run == key_of(run_id), _inbox.c.kind == kind)
    return connection.execute(select(func.count()).where(where)).scalar_one()


def unconsumed(connection: Connection, run_ids: Sequence[str]) -> list[Message]:
    found: list[Message] = []
    for some in portions(run_ids):
        found += _messages(connection, and_(_run.c.run_id.in_(some), _inbox.c.consumed_at.is_(None)))
    return found


def unread(connection: Connection, run_id: str) -> tuple[int, int]:
    size = func.coalesce(func.sum(func.length(_inbox.c.body)), 0)
    where = and_(_inbox.c.run == key_of(run_id), _inbox.c.consumed_at.is_(None))
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
