"""From a URL to a database that this process may use as a node. Runs in a thread: it waits for locks, disks and networks."""

from __future__ import annotations

import logging
import os
import time
from importlib import import_module

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from mcp_workflows.clock import Clock, new_id
from mcp_workflows.errors import SettingsInvalid, StoreUnavailable
from mcp_workflows.store import calls
from mcp_workflows.store.database import Database
from mcp_workflows.store.holdings import Holdings
from mcp_workflows.store.migrations import migrate
from mcp_workflows.store.rows import report_text
from mcp_workflows.store.sqlite import Sqlite
from mcp_workflows.store.tables import micros
from mcp_workflows.store.values import NodeReport

logger = logging.getLogger(__name__)

MIGRATING_SECONDS = 120.0
"""For which a migration is tried while somebody uses the tables."""
PAUSE_SECONDS = 0.5
EXAMPLES = "sqlite:///path/to/runs.db, or postgresql://user@host/database"


def database(url: str) -> Database:
    """``SettingsInvalid``: no database of a kind that is supported here."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        shown = f"{url.partition('://')[0]}://…" if "://" in url else url  # there may be a password in it
        raise SettingsInvalid(f'DATABASE_URL: "{shown}" is no URL. Give one such as {EXAMPLES}.') from None
    match parsed.drivername:
        case "sqlite":
            return Sqlite(parsed)
        case "postgresql" | "postgresql+psycopg":
            return _postgres(parsed)
        case other:
            raise SettingsInvalid(f'DATABASE_URL: "{other}" is not supported. Give one such as {EXAMPLES}.')


def _postgres(url: URL) -> Database:
    try:
        # Here and not above: its driver is not installed everywhere.
        module = import_module("mcp_workflows.store.postgres")
    except ImportError as missing:
        raise SettingsInvalid(
            f'DATABASE_URL: the driver for PostgreSQL is missing ({missing}): pip install "mcp-workflows[postgres]".'
        ) from None
    return module.Postgres(url)


def prepare(database: Database, name: str, clock: Clock, lease_seconds: float, report: NodeReport | None) -> Holdings:
    """Everything that is done once, in a thread: the place, the schema, this node's row and its life."""
    database.prepare()
    _bring_up_to_date(database)
    return join(database, name, clock, lease_seconds, report)


def _bring_up_to_date(database: Database) -> None:
    """Nodes that serve meanwhile are not held up for longer than a migration waits for a lock: it lets go and tries again."""
    until = time.monotonic() + MIGRATING_SECONDS
    while True:
        try:
            with database.migrating() as connection:
                migrate(connection, str(database))
        except (*database.errors, DBAPIError) as error:
            cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
            if not database.is_blocked(cause) or time.monotonic() > until:
                raise StoreUnavailable(database.explain(cause)) from error
            logger.warning("the tables are in use, a migration waits: %s", cause)
            time.sleep(PAUSE_SECONDS)
        else:
            return


def join(database: Database, name: str, clock: Clock, lease_seconds: float, report: NodeReport | None) -> Holdings:
    """A new incarnation, which says ``report``. Its life begins before its row is there, so that nobody takes it for dead."""
    node_id = new_id("n_")
    told = None if report is None else report_text(report)
    own = database.life(node_id)
    lock = database.lock()
    try:
        own.acquire()
        with lock:
            connection = database.connect(lease_seconds)
            try:
                cursor = connection.cursor()
                cursor.execute(database.begin)
                calls.join(database.statements, cursor, node_id, name, os.getpid(), micros(clock()), told)
                database.statements.live_nodes.run(cursor, me=node_id)
                living = {row[0] for row in cursor.fetchall()}
                database.commit(cursor)
                database.forget_lives(living | {node_id})
            finally:
                connection.close()
    except database.errors as error:
        own.close()
        raise StoreUnavailable(database.explain(error)) from error
    finally:
        lock.close()
    return Holdings(node_id, own)
