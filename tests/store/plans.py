"""How the database goes about a query: asked of the very statements that the store runs."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import sqlite3
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import event

from mcp_workflows.store import Store
from mcp_workflows.store.postgres import Postgres
from mcp_workflows.store.sqlite import Sqlite


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
    if isinstance(store._database, Sqlite):
        return "\n".join(explained(store._database.path, statement, parameters) for statement, parameters in asked)
    assert isinstance(store._database, Postgres)
    return "\n".join(_explained_by_postgres(store._database, statement, parameters) for statement, parameters in asked)


def _explained_by_postgres(database: Postgres, statement: str, parameters: Any) -> str:
    """Whether indexes serve can be seen even where it would not pay: our tables are small here."""
    with psycopg.connect(database.conninfo, autocommit=True) as connection:
        connection.execute("SET enable_seqscan = off")
        return "\n".join(row[0] for row in connection.execute(("EXPLAIN " + statement).encode(), parameters))


def explained(path: Path, statement: str, parameters: Any) -> str:
    connection = sqlite3.connect(path)
    try:
        return "\n".join(row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + statement, parameters))
    finally:
        connection.close()
