"""The processes that are, or were, nodes of the database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select

from mcp_workflows.store import rows, tables
from mcp_workflows.store.values import NodeReport, NodeRow

_run, _node = tables.run, tables.node


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


def is_up(connection: Connection, node_id: str, last_beat: int) -> bool:
    """It neither was declared dead nor has left, and what it committed last can be seen here."""
    still = (_node.c.node_id == node_id, _node.c.ended_at.is_(None), _node.c.beat >= last_beat)
    return connection.execute(select(_node.c.node_id).where(*still)).one_or_none() is not None


def nodes(connection: Connection) -> list[NodeRow]:
    owned = select(func.count()).select_from(_run).where(_run.c.owner == _node.c.node_id).scalar_subquery()
    found = connection.execute(select(_node, owned.label("runs")).order_by(_node.c.started_at.desc()))
    return [_node_row(row) for row in found]


def _node_row(row: Any) -> NodeRow:
    report = rows.node_report(row.report)
    return NodeRow(
        row.node_id, row.name, row.pid, row.started_at, row.beat_at, row.ended_at, bool(row.crashed), row.runs, report
    )
