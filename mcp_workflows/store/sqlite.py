"""Everything that is particular to SQLite: how it is opened, locked, checkpointed, and what its errors mean.

SQLite before 3.51.3 can corrupt a database when two connections write or checkpoint at the same moment
(https://sqlite.org/wal.html#walresetbug). So every write transaction and every checkpoint of every process happens under
one lock on a file beside the database, automatic checkpoints are off, and closing the last connection, which
checkpoints too, happens under the lock as well. The lock is also fairer than SQLite's own waiting.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Collection, Generator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TypeAlias

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import URL

from mcp_workflows.errors import SettingsInvalid, StoreUnavailable
from mcp_workflows.store.checkpoints import Checkpoints
from mcp_workflows.store.database import Grow
from mcp_workflows.store.locks import FileLock
from mcp_workflows.store.places import check_file_system, make_folder
from mcp_workflows.store.prepared import Cursor
from mcp_workflows.store.statements import Statements

OLDEST_SQLITE = (3, 35, 0)
"""The first with RETURNING."""

BUSY_SECONDS = 5.0
"""How long to wait for somebody who writes without our lock, such as the ``sqlite3`` shell."""

JOURNAL_BYTES = 64 * 1024 * 1024
"""To what the write-ahead log is cut after it has grown larger."""

_PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "fullfsync = ON",  # macOS: fsync alone leaves data in the drive's cache
    "checkpoint_fullfsync = ON",
    "foreign_keys = ON",
    "wal_autocheckpoint = 0",
    "mmap_size = 0",
    f"journal_size_limit = {JOURNAL_BYTES}",
    "trusted_schema = OFF",
)

_REMEDIES = {
    sqlite3.SQLITE_FULL: "The disk is full: free some space.",
    sqlite3.SQLITE_READONLY: "The file or its folder cannot be written: check the permissions.",
    sqlite3.SQLITE_CANTOPEN: "The file cannot be opened: check that its folder exists and can be written.",
    sqlite3.SQLITE_NOTADB: "The file is no SQLite database: choose another file.",
    sqlite3.SQLITE_CORRUPT: "The file is damaged: restore it from a backup.",
    sqlite3.SQLITE_BUSY: "Another program keeps the database locked.",
    sqlite3.SQLITE_IOERR: "The disk cannot be read or written: it may be full, or a limit on file sizes reached.",
}


Connected: TypeAlias = sqlite3.Connection

logger = logging.getLogger(__name__)


@cache
def _statements() -> Statements:
    return Statements(sqlite_dialect(), sqlite_insert)


class Sqlite:
    """One database file. Connections belong to the threads that ask for them; the lock excludes them from one another."""

    begin = "BEGIN IMMEDIATE"
    errors = (sqlite3.Error, OSError, MemoryError)
    """What the driver raises, and what the files may."""

    def __init__(self, url: URL) -> None:
        if not url.database or url.database == ":memory:":
            raise SettingsInvalid(
                "DATABASE_URL must name a file: sqlite:///path/to/runs.db. A run must outlive the process."
            )
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise SettingsInvalid(f"SQLite {sqlite3.sqlite_version} is too old: 3.35 or later is needed.")
        # Processes must agree on the name of the lock file, by whatever way they got to the database.
        self.path = Path(url.database).expanduser().resolve()
        self.statements = _statements()
        self._inode: tuple[int, int] | None = None

    def __str__(self) -> str:
        return str(self.path)

    def prepare(self) -> None:
        """Makes the folder and the file. ``SettingsInvalid``: this is no place for a database that processes share."""
        try:
            make_folder(self.path.parent)
            check_file_system(self.path.parent)
            # Made here and not by SQLite: what runs hold is nobody else's to read. Its other files follow the mode of this one.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise StoreUnavailable(
                f"The database {self.path} cannot be used: {error}. Check the permissions of the file and of its folder."
            ) from error
        status = self.path.stat()
        self._inode = (status.st_dev, status.st_ino)

    def lock(self) -> FileLock:
        """A handle on the lock under which everything is written; one for each thread."""
        return FileLock(self.path.with_name(self.path.name + ".lock"))

    def life(self, node_id: str) -> FileLock:
        """The lock that ``node_id`` holds for as long as its process lives."""
        folder = self.path.with_name(self.path.name + ".nodes")
        folder.mkdir(mode=0o700, exist_ok=True)
        return FileLock(folder / node_id)

    def proof_of_death(self, node_id: str) -> FileLock | None:
        lock = self.life(node_id)
        # Somebody may have removed the file of a node that lives: then only its silence counts.
        if lock.path.exists() and lock.try_acquire():
            return lock
        lock.close()
        return None

    def forget_lives(self, known: Collection[str]) -> None:
        """Removes lock files that belong to no living node: left by a crash between making the file and the row."""
        for path in self.life("").path.iterdir():
            if path.name in known:
                continue
            lock = FileLock(path)
            if lock.try_acquire():
                lock.remove()
            else:
                lock.close()

    def connect(self, lease_seconds: float = 0.0) -> Connected:  # noqa: ARG002
        """A connection without transactions of the driver's own: the caller says BEGIN."""
        connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        try:
            self._set_up(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def check(self) -> None:
        """``FileNotFoundError``: the path no longer leads to the file that is open. What a deleted file is given is lost."""
        with suppress(FileNotFoundError):
            status = self.path.stat()
            if self._inode == (status.st_dev, status.st_ino):
                return
        raise FileNotFoundError("the file was moved or deleted while it was in use; start the server again")

    def commit(self, cursor: Cursor) -> None:
        cursor.execute("COMMIT")

    def roll_back(self, connection: Connected) -> None:
        if connection.in_transaction:
            connection.execute("ROLLBACK")

    def checkpoint(self) -> None:
        """Moves the log into the database, as far as readers allow. Under the lock."""
        connection = self.connect()
        try:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        finally:
            connection.close()

    def lose_patience(self) -> None:
        """A file answers, or fails, by itself."""

    def others(self) -> DataVersion:
        return DataVersion()

    def upkeep(self) -> Checkpoints:
        return Checkpoints(self)

    def engine(self, connections: int) -> Engine:
        """For reading: each transaction sees one state of the database."""
        engine = create_engine(
            "sqlite://", creator=self._connect_reader, poolclass=QueuePool, pool_size=connections, max_overflow=0
        )

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:  # pyright: ignore[reportUnusedFunction]
            connection.exec_driver_sql("BEGIN")

        return engine

    @contextmanager
    def migrating(self) -> Generator[Connection]:
        """A connection in a write transaction that is committed at the end, all or nothing."""
        engine = create_engine("sqlite://", creator=self.connect, poolclass=QueuePool, pool_size=1)

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:  # pyright: ignore[reportUnusedFunction]
            connection.exec_driver_sql(self.begin)

        lock = self.lock()
        try:
            with lock, engine.begin() as connection:
                yield connection
        finally:
            with lock:
                engine.dispose()
            lock.close()

    def is_refusal(self, error: BaseException) -> bool:
        """The database takes everything but this: a value it cannot hold, a constraint, a row too big."""
        if isinstance(error, (ValueError, OverflowError, TypeError)):  # from binding; UnicodeEncodeError among them
            return True
        return isinstance(
            error, (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError)
        )

    def is_collision(self, error: BaseException) -> bool:  # noqa: ARG002
        """Nobody is in the way: one writes at a time."""
        return False

    def is_blocked(self, error: BaseException) -> bool:  # noqa: ARG002
        """Whoever uses the file by our lock is waited for."""
        return False

    def is_unwell(self, error: BaseException) -> bool:
        """The database cannot be used now, whatever is asked of it."""
        return isinstance(error, self.errors) and not self.is_refusal(error)

    def explain(self, error: BaseException) -> str:
        """What is wrong and what to do, in one sentence or two."""
        code: int = getattr(error, "sqlite_errorcode", 0) & 0xFF
        remedy = _REMEDIES.get(code, "")
        return f"The database {self.path} cannot be used now: {error}. {remedy}".rstrip()

    def _set_up(self, connection: Connected) -> None:
        for pragma in _PRAGMAS:
            answer = connection.execute("PRAGMA " + pragma).fetchone()
            if pragma.startswith("journal_mode") and answer != ("wal",):
                raise SettingsInvalid(
                    f"{self.path}: SQLite cannot keep a write-ahead log here ({answer}). Choose a file on a local disk."
                )

    def _connect_reader(self) -> sqlite3.Connection:
        connection = self.connect()
        connection.execute("PRAGMA query_only = ON")
        return connection


class DataVersion:
    """Another number means that another connection has committed. To ask costs microseconds."""

    poll_seconds = 0.05

    def __init__(self) -> None:
        self._grow: Grow | None = None
        self._seen: int | None = None

    def start(self, grow: Grow) -> None:
        self._grow = grow

    def look(self, connection: Connected) -> None:
        assert self._grow is not None
        try:
            version = connection.execute("PRAGMA data_version").fetchone()[0]
        except sqlite3.Error as error:
            logger.debug("cannot look for commits of others: %s", error)
            return
        if self._seen is not None and version != self._seen:
            self._grow()
        self._seen = version

    def tell(self) -> None:
        """Others see it by themselves."""

    def close(self) -> None:
        """Nothing to let go."""

    def join(self, timeout: float) -> None:
        """Nothing to wait for."""
