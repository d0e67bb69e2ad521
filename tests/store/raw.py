"""The database as another program sees it, whatever its kind."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import psycopg
from sqlalchemy.engine import make_url

from mcp_workflows.store.postgres import connection_arguments


def postgres_connection(url: str) -> psycopg.Connection[Any]:
    return psycopg.connect(**connection_arguments(make_url(url)), autocommit=True)


def ask(url: str, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """What ``sql`` answers, committed; ``?`` stands for a parameter."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            found = connection.execute(sql, parameters).fetchall()
            connection.commit()
            return found
    with postgres_connection(url) as connection:
        cursor = connection.execute(sql.replace("?", "%s").encode(), parameters)
        return cursor.fetchall() if cursor.description else []
