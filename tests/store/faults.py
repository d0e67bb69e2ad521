"""A database that fails where a test says."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import psycopg

from mcp_workflows.store import Store
from mcp_workflows.store.database import Database
from mcp_workflows.store.postgres import Postgres
from mcp_workflows.store.sqlite import Sqlite

ON_POSTGRES: dict[str, type[psycopg.Error]] = {
    "SQLITE_FULL": psycopg.errors.DiskFull,
    "SQLITE_BUSY": psycopg.errors.LockNotAvailable,
    "SQLITE_IOERR": psycopg.errors.IoError,
    "SQLITE_READONLY": psycopg.errors.ReadOnlySqlTransaction,
    "SQLITE_CANTOPEN": psycopg.OperationalError,
}
"""What SQLite calls it, and PostgreSQL."""


def trouble(store: Store, name: str) -> Exception:
    """As the driver of ``store``'s database says it."""
    return _sqlite_trouble(name) if isinstance(store._database, Sqlite) else ON_POSTGRES[name]("injected")


def _sqlite_trouble(name: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(f"injected {name}")
    error.sqlite_errorcode = getattr(sqlite3, name)
    error.sqlite_errorname = name
    return error


class Faulty:
    """The writer's connection, whose cursors ask ``fault`` before and ``after`` after every statement they execute."""

    def __init__(self, connection: Any, before: Callable[[str], None], after: Callable[[str], None]) -> None:
        self._connection = connection
        self._before = before
        self._after = after
        self._cursor = connection.cursor()

    def cursor(self) -> Faulty:
        return Faulty(self._connection, self._before, self._after)

    def execute(self, sql: str, *parameters: Any) -> Any:
        for part in parts_of(sql):
            self._before(part)
        answer = self._cursor.execute(sql, *parameters)
        for part in parts_of(sql):
            self._after(part)
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(
            self._cursor
            if name in {"fetchall", "fetchone", "rowcount", "executemany", "nextset", "statusmessage"}
            else self._connection,
            name,
        )


def parts_of(sql: str) -> tuple[str, ...]:
    """A transaction in one statement begins, inserts and commits."""
    return ("BEGIN", "INSERT INTO step", "COMMIT") if sql.startswith("\nWITH fence") else (sql,)


def nothing(_sql: str) -> None:
    return None


def times(count: int, error: Exception, *, at: str) -> Callable[[str], None]:
    """Raises ``error`` at the first ``count`` statements that begin with ``at``."""
    left = [count]

    def fault(sql: str) -> None:
        if sql.startswith(at) and left[0] > 0:
            left[0] -= 1
            raise error

    return fault


class FaultyDatabase:
    """The database as the writer sees it."""

    def __init__(self, database: Database, before: Callable[[str], None], after: Callable[[str], None]) -> None:
        self._database = database
        self._faults = before, after

    def connect(self, lease_seconds: float) -> Any:
        return Faulty(self._database.connect(lease_seconds), *self._faults)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)


def break_down(
    store: Store, *, before: Callable[[str], None] = nothing, after: Callable[[str], None] = nothing
) -> None:
    """From the next transaction on, every connection of ``store``'s writer is faulty."""
    writer: Any = store._writer
    writer._database = FaultyDatabase(store._database, before, after)
    writer._connection = Faulty(writer._connection, before, after)


@contextmanager
def held(store: Store) -> Generator[None]:
    """Nobody can write while the block runs."""
    if isinstance(store._database, Postgres):
        with psycopg.connect(store._database.conninfo) as connection:
            connection.execute("LOCK TABLE node IN EXCLUSIVE MODE")
            yield
        return
    lock = store._database.lock()
    try:
        with lock:
            yield
    finally:
        lock.close()
