"""A network between a store and its server, with what networks do: refuse, reset, and swallow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import cast

from sqlalchemy.engine import make_url


class Proxy:
    """Between TCP connections of clients and the socket of a server on this machine."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._server: asyncio.Server | None = None
        self._port = 0
        self._lines: dict[Line, asyncio.Task[None]] = {}
        self._swallows = False

    async def start(self) -> None:
        """Also: again."""
        self._swallows = False
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Ends all connections by a reset, and refuses new ones until ``start``."""
        assert self._server is not None
        self._server.close()
        self.reset()

    def reset(self) -> None:
        for line in list(self._lines):
            line.abort()

    def swallow(self) -> None:
        """Nothing gets through any more; nobody is told. Connections of this time stay dead after ``pass_on``."""
        self._swallows = True
        for line in self._lines:
            line.swallows = True

    def pass_on(self) -> None:
        self._swallows = False

    async def close(self) -> None:
        self.refuse()
        await asyncio.gather(*self._lines.values())

    def url(self, url: str) -> str:
        """The database at ``url``, by way of this network."""
        through = make_url(url).set(host="127.0.0.1", port=self._port, query={})
        return through.render_as_string(hide_password=False)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(writer, swallows=self._swallows)
        self._lines[line] = cast("asyncio.Task[None]", asyncio.current_task())
        try:
            await line.carry(reader, self._socket)
        except OSError:
            line.abort()
        finally:
            del self._lines[line]


class Line:
    """One connection of a client."""

    def __init__(self, client: asyncio.StreamWriter, *, swallows: bool) -> None:
        self.swallows = swallows
        self._ends = [client]

    def abort(self) -> None:
        for end in self._ends:
            end.transport.abort()

    async def carry(self, reader: asyncio.StreamReader, socket: Path) -> None:
        server_reader, server = await asyncio.open_unix_connection(socket)
        self._ends.append(server)
        client = self._ends[0]
        await asyncio.gather(self._from_client(reader, server), self._from_server(server_reader, client))

    async def _from_client(self, reader: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        await self._pump(reader, server)
        self.abort()

    async def _from_server(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        await self._pump(reader, client)
        if not self.swallows:  # else its client never learns
            self.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if not self.swallows:
                    writer.write(data)
                    await writer.drain()


@asynccontextmanager
async def proxy(folder: Path) -> AsyncGenerator[Proxy]:
    """To the PostgreSQL whose socket is in ``folder``."""
    network = Proxy(folder / ".s.PGSQL.5432")
    await network.start()
    try:
        yield network
    finally:
        await network.close()
