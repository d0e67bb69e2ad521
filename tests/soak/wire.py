"""The way from one server to the database, which can be cut: at once, or so that nothing comes through and nothing says so.

What is said on it can be overheard, and held back.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path


class Wire:
    """A socket in ``folder`` that leads to the one of PostgreSQL in ``target``."""

    def __init__(self, folder: Path, target: Path) -> None:
        self.folder = folder
        self._target = target / ".s.PGSQL.5432"
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._open.set()
        self._words: bytes | None = None
        self._heard = asyncio.Event()

    async def connect(self) -> None:
        """From now on there is a way."""
        self._open.set()
        if self._server is None:
            socket = self.folder / ".s.PGSQL.5432"
            socket.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._accept, socket)

    async def cut(self) -> None:
        """Connections break, and new ones are refused."""
        if self._server is not None:
            self._server.close()
            (self.folder / ".s.PGSQL.5432").unlink(missing_ok=True)
            self._server = None
        for end in list(self._ends):
            end.transport.abort()

    def catch(self, words: bytes) -> asyncio.Event:
        """Whoever says ``words`` to the database stalls the wire before they come through, and sets the event."""
        self._words, self._heard = words, asyncio.Event()
        return self._heard

    def let_through(self) -> None:
        self._words = None
        self._open.set()

    def stall(self) -> None:
        """Nothing comes through any more, and nobody is told, until ``connect``."""
        self._open.clear()

    async def close(self) -> None:
        await self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_unix_connection(self._target)
        except OSError:
            writer.transport.abort()
            return
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._pump(source, sink, listens=source is reader))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, listens: bool) -> None:
        self._ends.add(sink)
        try:
            with contextlib.suppress(OSError):
                while data := await source.read(1 << 16):
                    if listens and self._words is not None and self._words in data:
                        self._open.clear()
                        self._heard.set()
                    await self._open.wait()
                    sink.write(data)
                    await sink.drain()
        finally:
            self._ends.discard(sink)
            sink.close()


@asynccontextmanager
async def wire(folder: Path, target: Path) -> AsyncGenerator[Wire]:
    """Connected, until the block ends."""
    folder.mkdir()  # noqa: ASYNC240  (before anything runs)
    way = Wire(folder, target)
    await way.connect()
    try:
        yield way
    finally:
        await way.close()
