"""From a URL to a database that this process may use as a node. Runs in a thread: it waits for the lock, and for the disk."""

from __future__ import annotations

import os

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from mcp_workflows.clock import Clock, new_id
from mcp_workflows.errors import SettingsInvalid, StoreUnavailable
from mcp_workflows.store import calls, nodes
from mcp_workflows.store.holdings import Holdings
from mcp_workflows.store.migrations import migrate
from mcp_workflows.store.sqlite import Sqlite
from mcp_workflows.store.tables import micros


def database(url: str) -> Sqlite:
    """``SettingsInvalid``: no database of a kind that is supported here."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise SettingsInvalid(f'DATABASE_URL: "{url}" is no URL. Give one such as sqlite:///path/to/runs.db.') from None
    if parsed.get_backend_name() != "sqlite":
        raise SettingsInvalid(
            f'DATABASE_URL: "{parsed.drivername}" is not supported. Give one such as sqlite:///path/to/runs.db.'
        )
    return Sqlite(parsed)


def prepare(database: Sqlite, name: str, clock: Clock) -> Holdings:
    """Everything that is done once, in a thread: the file, its schema, this node's row and lock."""
    database.prepare()
    lock = database.lock()
    try:
        with lock, database.migrating() as connection:
            migrate(connection, str(database))
    except (*database.errors, DBAPIError) as error:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        raise StoreUnavailable(database.explain(cause)) from error
    finally:
        lock.close()
    return join(database, name, clock)


def join(database: Sqlite, name: str, clock: Clock) -> Holdings:
    """A new incarnation. Its lock is taken before its row is there, so that nobody takes it for dead."""
    node_id = new_id("n_")
    own = database.node_lock(node_id)
    lock = database.lock()
    try:
        own.acquire()
        with lock:
            connection = database.connect()
            try:
                cursor = connection.cursor()
                cursor.execute(database.begin)
                calls.join(database.statements, cursor, node_id, name, os.getpid(), micros(clock()))
                database.statements.live_nodes.run(cursor, me=node_id)
                living = {row[0] for row in cursor.fetchall()}
                cursor.execute("COMMIT")
                nodes.sweep(database, living | {node_id})
            finally:
                connection.close()
    except database.errors as error:
        own.close()
        raise StoreUnavailable(database.explain(error)) from error
    finally:
        lock.close()
    return Holdings(node_id, own)
