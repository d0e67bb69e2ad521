"""How long one waits for a PostgreSQL server that says nothing: never for ever.

A server ends statements that take too long by itself, and the operating system notices packets that nobody acknowledges. A
server that is frozen behind a proxy that is not does neither: so every wait has an end here too.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, TypeVar, cast

import psycopg
from psycopg import Cursor, RawCursor
from psycopg.abc import PQGen

T = TypeVar("T")

LONGER = 2.0
"""Seconds that one waits longer than the server was told to take: it is to say itself what is wrong, if it can."""
INTERVAL = 0.1
"""Seconds between two looks whether it is time to give up."""


class Patience:
    """That of a process; it can come to an end."""

    over = False


class Connection(psycopg.Connection[Any]):
    """Gives itself up once the server has said nothing for ``silence`` seconds while it was to answer."""

    silence = 5.0
    patience = Patience()

    @classmethod
    def to(
        cls, conninfo: str, *, silence: float, patience: Patience, cursors: type[Cursor[Any] | RawCursor[Any]] = Cursor
    ) -> Connection:
        """A new one, that begins no transaction by itself."""
        if patience.over:
            raise SilentServer("this process ends, and waits for no server any more")
        connection = cast("Connection", cls.connect(conninfo, autocommit=True, cursor_factory=cursors))
        connection.silence = silence
        connection.patience = patience
        return connection

    def wait(self, gen: PQGen[T], interval: float = INTERVAL, timeout: float | None = None) -> T:
        try:
            return super().wait(self._bounded(gen), interval, timeout)
        except SilentServer:
            self.pgconn.finish()  # an answer that comes after all would be taken for that to another question
            raise

    def _bounded(self, gen: PQGen[T]) -> Generator[Any, Any, T]:
        heard = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    heard = time.monotonic()
                elif self.patience.over or time.monotonic() - heard > self.silence:
                    raise SilentServer(f"the server has said nothing for {time.monotonic() - heard:.0f} s")
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value


class SilentServer(psycopg.OperationalError):
    """It was asked and did not answer; whether it did what it was asked for is not known."""
