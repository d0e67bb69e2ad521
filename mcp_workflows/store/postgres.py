"""Everything that is particular to PostgreSQL: how it is connected to, what is locked, and what its errors mean.

Nodes write at the same time, so what SQLite gives by one writer at a time is said here. Every batch begins with the update
of its node's row: that renews the lease, fences (a node that was ended finds no row, and nobody can end one whose batch is
under way), and tells afterwards whether a COMMIT without an answer took place. Then it locks the runs that others may
change too, in one order, by a statement of its own: only the statement after that one sees what the others have committed.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from hashlib import blake2b
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo
from psycopg.types.numeric import Int8Dumper
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    QueuePool,
    Select,
    any_,
    create_engine,
    event,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import URL
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from mcp_workflows.errors import SettingsInvalid, StoreUnavailable
from mcp_workflows.store.columns import InColumns
from mcp_workflows.store.jobs import Job
from mcp_workflows.store.listener import Listener
from mcp_workflows.store.locks import NoLock
from mcp_workflows.store.one_trip import OneTrip
from mcp_workflows.store.patience import LONGER, Patience
from mcp_workflows.store.patience import Connection as PatientConnection
from mcp_workflows.store.prepared import Cursor, Prepared
from mcp_workflows.store.statements import Statements

OLDEST_SERVER = 140000
CONNECT_SECONDS = 5
READ_SECONDS = 30.0
"""For one statement that reads."""
LISTEN_SECONDS = 2.0
"""For telling other nodes of a commit."""
DEAD_PEER_SECONDS = 15
"""After which a server that does not even acknowledge what is sent is given up."""
MIGRATION_LOCK = 0x6D63702D7766
"""Of ``pg_advisory_xact_lock``."""
MIGRATION_WAITS_SECONDS = 2.0
"""For one table that somebody uses."""
NAME_LOCKS = 1024
"""Into so many locks names are hashed: a server has a limited number of them."""

_DEFAULTS = {
    "application_name": "mcp-workflows",
    "connect_timeout": str(CONNECT_SECONDS),
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": str(DEAD_PEER_SECONDS * 1000),
    "target_session_attrs": "read-write",
}
"""What the URL does not say. Of several hosts the one that can be written is found by the last."""

_LOCK_RUNS = "SELECT key FROM run WHERE key = ANY($1::bigint[]) ORDER BY key FOR NO KEY UPDATE"
_LOCK_RUNS_AND_OTHERS = (
    "SELECT key FROM run WHERE key = ANY($1::bigint[]) OR run_id = ANY($2::text[]) ORDER BY key FOR NO KEY UPDATE"
)
_LOCK_NAMES = "SELECT pg_advisory_xact_lock($1::int, name) FROM unnest($2::int[]) AS name"
_NAMES_SPACE = 0x6D7766
"""The first of the two keys of those locks."""

_REFUSED = {"22", "23", "54"}
"""Classes of errors that lie in what was asked: data, constraints, limits (such as the size of an index row)."""
_REFUSED_TYPES = {"42804", "42846", "42883", "42P18"}
"""Of class 42, those that a value of a wrong type causes."""
_COLLISIONS = {"40001", "40P01"}

_POOLED = "A pooler hands the session around: name the server itself, or a pooler with pool_mode = session."
_REMEDIES = {
    "25006": "It can only be read: it may be a standby. Check DATABASE_URL.",
    "26000": _POOLED,
    "42501": "Grant the user of DATABASE_URL the rights on the tables of mcp-workflows.",
    "42P05": _POOLED,
    "42P01": "Its tables are gone: restore it from a backup.",
    "53100": "The disk of the server is full: free some space.",
    "53200": "The server is out of memory.",
    "53300": "The server takes no more connections: raise max_connections, or run fewer nodes. Each needs up to six.",
    "55P03": "Somebody keeps rows or tables locked: look at pg_locks.",
    "57014": "A statement took too long, and was cancelled by a timeout or by somebody.",
    "57P01": "The server is being shut down, or somebody ended the connection.",
    "57P03": "The server is starting or stopping.",
}
_UNREACHABLE = "Check that the server runs and that DATABASE_URL is right."
_NOT_LET_IN = {
    "too many clients": _REMEDIES["53300"],
    "connection slots": _REMEDIES["53300"],
    "too many connections": _REMEDIES["53300"],
    "starting up": _REMEDIES["57P03"],
    "shutting down": _REMEDIES["57P03"],
    "recovery mode": _REMEDIES["57P03"],
    "authentication failed": "Check the user and the password of DATABASE_URL.",
    "session is read-only": _REMEDIES["25006"],
    "no pg_hba.conf entry": "The server's pg_hba.conf lets nobody in like this.",
    "does not exist": "Create the database and its user, or check DATABASE_URL.",
}
"""What a server that lets nobody in says has no code here: it is known by words, where the server speaks English."""


class Postgres:
    """One database of a server."""

    begin = "BEGIN ISOLATION LEVEL READ COMMITTED"
    errors = (psycopg.Error, OSError, MemoryError)

    def __init__(self, url: URL) -> None:
        self._url = url
        self.conninfo = make_conninfo("", **(_DEFAULTS | connection_arguments(url)))
        self.statements = _statements()
        self._patience = Patience()
        self._connected = 0
        """How often a connection to write was made."""

    def __str__(self) -> str:
        return self._url.set(query={}).render_as_string(hide_password=True)

    def prepare(self) -> None:
        """Nothing is made: the database is there, or it is not. ``SettingsInvalid``: it is no database for this."""
        try:
            with psycopg.connect(self.conninfo, autocommit=True) as connection:
                version, encoding = connection.info.server_version, connection.info.parameter_status("server_encoding")
        except psycopg.Error as error:
            raise StoreUnavailable(self.explain(error)) from error
        if version < OLDEST_SERVER:
            raise SettingsInvalid(f"{self}: PostgreSQL {version // 10000} is too old: 14 or later is needed.")
        if encoding != "UTF8":
            raise SettingsInvalid(f"{self} is encoded in {encoding}: create one with ENCODING 'UTF8'.")

    def lock(self) -> NoLock:
        return NoLock()

    def life(self, node_id: str) -> NoLock:  # noqa: ARG002
        return NoLock()

    def proof_of_death(self, node_id: str) -> None:  # noqa: ARG002
        """None: a connection that ends says nothing of the process at its other end."""
        return

    def forget_lives(self, known: Collection[str]) -> None:
        """Nothing is left but rows."""

    def connect(self, lease_seconds: float) -> psycopg.Connection[Any]:
        """The server ends a transaction in which nothing comes for a third of the lease: its process is frozen, or its machine
        gone, and what it has locked stands in the way of the others. A commit is durable, and a statement sees what was
        committed before it, whatever the server's defaults.
        """
        milliseconds = max(1000, int(lease_seconds * 1000))
        connection = self._connection(milliseconds / 1000, psycopg.RawCursor)
        try:
            # All of one size. The driver would take the smallest for each value, and prepare one statement many times over.
            connection.adapters.register_dumper(int, Int8Dumper)
            connection.execute(
                "SELECT set_config('statement_timeout', $1, false), set_config('lock_timeout', $1, false), "
                "set_config('idle_in_transaction_session_timeout', $2, false), "
                "set_config('default_transaction_isolation', 'read committed', false), "
                "set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' "
                "ELSE current_setting('synchronous_commit') END, false)",
                [str(milliseconds), str(max(1000, milliseconds // 3))],
            )
        except BaseException:
            connection.close()
            raise
        self._connected += 1
        return connection

    def _connection(self, statement_seconds: float, cursors: Any = psycopg.Cursor) -> PatientConnection:
        silence = statement_seconds + LONGER
        return PatientConnection.to(self.conninfo, silence=silence, patience=self._patience, cursors=cursors)

    def check(self) -> None:
        """A connection that leads nowhere says so itself."""

    def commit(self, cursor: Any) -> None:
        cursor.execute("COMMIT")
        if cursor.statusmessage != "COMMIT":  # a transaction in which something failed is rolled back without complaint
            raise psycopg.errors.InFailedSqlTransaction(f"COMMIT was answered by {cursor.statusmessage}")

    def roll_back(self, connection: psycopg.Connection[Any]) -> None:
        if connection.info.transaction_status != pq.TransactionStatus.IDLE:
            connection.execute("ROLLBACK")

    def engine(self, connections: int) -> Engine:
        """For reading. Once there is another connection to write, those to read are made anew too: the old ones may lead to a
        server that can still be read, and that knows nothing of what is written now.
        """
        milliseconds = str(int(READ_SECONDS * 1000))
        made_after = WeakKeyDictionary[Any, int]()

        def connect() -> psycopg.Connection[Any]:
            connected = self._connected
            connection = self._connection(READ_SECONDS)
            made_after[connection] = connected
            connection.execute(
                "SELECT set_config('statement_timeout', %s, false), "
                "set_config('idle_in_transaction_session_timeout', %s, false)",
                [milliseconds, milliseconds],
            )
            connection.autocommit = False
            return connection

        engine = create_engine(
            "postgresql+psycopg://",
            creator=connect,
            poolclass=QueuePool,
            pool_size=connections,
            max_overflow=0,
            isolation_level="REPEATABLE READ",
            execution_options={"postgresql_readonly": True},
        )

        @event.listens_for(engine, "checkout")
        def follow(connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:  # pyright: ignore[reportUnusedFunction]
            if record.info.get("used") and made_after[connection] != self._connected:
                raise DisconnectionError("there is another connection to write since")
            record.info["used"] = True  # one that was just made is good for this time, whatever was connected meanwhile

        return engine

    @contextmanager
    def migrating(self) -> Generator[Connection]:
        """A connection in a transaction that is committed at the end, all or nothing; one process at a time.

        Whatever the server's defaults, a migration may take its time, but not wait for a table for long: everybody who asks
        for the table after it waits for it.
        """

        def connect() -> psycopg.Connection[Any]:
            connection = psycopg.connect(self.conninfo, autocommit=True)  # before SQLAlchemy asks for anything
            connection.execute(
                "SELECT set_config('statement_timeout', '0', false), set_config('lock_timeout', '0', false), "
                "set_config('idle_in_transaction_session_timeout', '0', false)"
            )
            connection.autocommit = False
            return connection

        engine = create_engine("postgresql+psycopg://", creator=connect, poolclass=QueuePool, pool_size=1)
        try:
            with engine.begin() as connection:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
                waits = str(int(MIGRATION_WAITS_SECONDS * 1000))
                connection.execute(text("SELECT set_config('lock_timeout', :waits, true)"), {"waits": waits})
                yield connection
        finally:
            engine.dispose()

    def lose_patience(self) -> None:
        self._patience.over = True

    def others(self) -> Listener:
        return Listener(lambda: self._connection(LISTEN_SECONDS))

    def upkeep(self) -> NoUpkeep:
        return NoUpkeep()

    def is_refusal(self, error: BaseException) -> bool:
        """The database takes everything but this: a value it cannot hold, a constraint, a row too big."""
        if isinstance(error, (ValueError, OverflowError, TypeError)):  # from binding; UnicodeEncodeError among them
            return True
        if not isinstance(error, psycopg.Error):
            return False
        state = error.sqlstate
        if state is None:  # the driver's own: it cannot bind a value
            return isinstance(error, (psycopg.DataError, psycopg.ProgrammingError, psycopg.InterfaceError))
        return state[:2] in _REFUSED or state in _REFUSED_TYPES

    def is_collision(self, error: BaseException) -> bool:
        """Two nodes waited for one another, and this one was told to yield."""
        return isinstance(error, psycopg.Error) and error.sqlstate in _COLLISIONS

    def is_blocked(self, error: BaseException) -> bool:
        return isinstance(error, psycopg.errors.LockNotAvailable)

    def is_unwell(self, error: BaseException) -> bool:
        """The database cannot be used now, whatever is asked of it."""
        return isinstance(error, self.errors) and not self.is_refusal(error)

    def explain(self, error: BaseException) -> str:
        """What is wrong and what to do, in one sentence or two."""
        state = getattr(error, "sqlstate", None)
        said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        remedy = _at_the_door(said) if state is None else _REMEDIES.get(state, "")
        end = "" if said.endswith("?") else "."
        return f"The database {self} cannot be used now: {said}{end} {remedy}".rstrip()


def _at_the_door(said: str) -> str:
    return next((remedy for words, remedy in _NOT_LET_IN.items() if words in said), _UNREACHABLE)


def connection_arguments(url: URL) -> dict[str, Any]:
    """What the driver is to be given for ``url``."""
    dialect: Any = PGDialect_psycopg()
    return dialect.create_connect_args(url)[1]


def each(cursor: Any, statement: Prepared, many: Sequence[Mapping[str, Any]]) -> list[Any]:
    """On their way together: a round trip is not waited for before the next one begins."""
    if len(many) == 1:
        cursor.execute(statement.sql, statement.parameters(many[0]))
        return cursor.fetchall()
    cursor.executemany(statement.sql, [statement.parameters(values) for values in many], returning=True)
    found = cursor.fetchall()
    while cursor.nextset():
        found += cursor.fetchall()
    return found


def among(value: ColumnElement[Any], found: Select[Any]) -> ColumnElement[bool]:
    """As an array, which the planner takes for short: a tenth of the table, which it takes a LIMIT for, it would scan for."""
    return value == any_(func.array(found.scalar_subquery()))


class NoUpkeep:
    """The server looks after itself."""

    def start(self) -> None:
        """Nothing is to be done."""

    def written(self, jobs: Sequence[Job]) -> None:
        """Nothing is to be done."""

    def close(self) -> None:
        """Nothing is to be ended."""

    def join(self, timeout: float) -> None:
        """Nothing is to be waited for."""


def exclude(cursor: Cursor, keys: Collection[int], run_ids: Collection[str], names: Collection[str]) -> None:
    """Lets nobody else change these runs, or make what is named, until the transaction ends. Always in the same order.

    Without it a message could be put into the inbox of a run that its owner is just letting go: neither would see the other.
    """
    if names:
        locks = sorted({int.from_bytes(blake2b(name.encode(), digest_size=4).digest()) % NAME_LOCKS for name in names})
        cursor.execute(_LOCK_NAMES, [_NAMES_SPACE, locks])
    if run_ids:
        cursor.execute(_LOCK_RUNS_AND_OTHERS, [list(keys), list(run_ids)])
    elif keys:
        cursor.execute(_LOCK_RUNS, [list(keys)])


@cache
def _statements() -> Statements:
    dialect = PGDialect_psycopg(paramstyle="numeric_dollar")
    return Statements(dialect, postgres_insert, exclude, InColumns, each, among, OneTrip)
