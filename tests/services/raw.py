"""A service that says given bytes, in given pieces, and keeps what it was sent as it came.

``async with raw(answer, …) as service`` runs it in the test's own event loop. Each request gets the next answer, whichever
connection it comes on; what one connection gets is not read by another.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Answer:
    """``pieces`` are written one after the other, then the connection is kept, closed, or reset."""

    pieces: Sequence[bytes]
    then: Literal["keep", "close", "reset"] = "keep"
    said: asyncio.Event = field(default_factory=asyncio.Event)
    """All of it is written, or nobody listens any more."""


@dataclass(slots=True)
class Raw:
    """``url`` is ``http://127.0.0.1:PORT``."""

    url: str = ""
    answers: list[Answer] = field(default_factory=list[Answer])
    """Those still to come."""
    requests: list[bytes] = field(default_factory=list[bytes])
    """Head and body of each."""
    by: list[int] = field(default_factory=list[int])
    """The number of the connection that each came on."""
    connections: int = 0
    left: int = 0
    """Connections that have ended."""
    read_bodies: bool = True
    """Otherwise no more is read from a connection than the first head."""
    tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.create_task(self._serve(self.connections, reader, writer))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _serve(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            going = True
            while going:
                going = await self._answer(number, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.left += 1
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        lengths = [line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        body = await reader.readexactly(int(lengths[0])) if lengths and self.read_bodies else b""
        self.requests.append(head + body)
        self.by.append(number)
        answer = self.answers.pop(0)
        try:
            await self._say(answer, writer)
        finally:
            answer.said.set()
        if not self.read_bodies:
            await asyncio.Event().wait()
        return answer.then == "keep"

    async def _say(self, answer: Answer, writer: asyncio.StreamWriter) -> None:
        for piece in answer.pieces:
            writer.write(piece)
            await writer.drain()
            for _ in range(3):  # so that the other side reads it by itself, as far as that can be brought about
                await asyncio.sleep(0)
        if answer.then == "close":
            writer.close()
            await writer.wait_closed()
        elif answer.then == "reset":
            sock: socket.socket = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


@contextlib.asynccontextmanager
async def raw(*answers: Answer, host: str = "127.0.0.1") -> AsyncGenerator[Raw]:
    """``answers`` may be given later as well."""
    service = Raw(answers=list(answers))
    server = await asyncio.start_server(service.accept, host, 0)
    port = server.sockets[0].getsockname()[1]
    service.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    try:
        yield service
    finally:
        server.close()
        for task in service.tasks:
            task.cancel()
        await asyncio.gather(*service.tasks, return_exceptions=True)
        await server.wait_closed()
