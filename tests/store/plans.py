"""How the database goes about a query: asked of the very statements that the store runs."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import sqlite3
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from sqlalchemy import event

from mcp_workflows.store import Store


async def plan_of(store: Store, reading: Awaitable[object]) -> str:
    """The plan of what ``reading`` asks, one line for each step of it."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    engine = store._reads._engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        await reading
    finally:
        event.remove(engine, "before_cursor_execute", note)
    return "\n".join(explained(store._database.path, statement, parameters) for statement, parameters in asked)


def explained(path: Path, statement: str, parameters: Any) -> str:
    connection = sqlite3.connect(path)
    try:
        return "\n".join(row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + statement, parameters))
    finally:
        connection.close()
