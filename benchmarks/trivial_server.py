"""An HTTP/1.1 server that answers every request with the same small JSON: the ceiling of what any client can reach.

It runs in a process of its own and does so little that the client is what is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import socket
from collections.abc import Generator
from typing import cast

import uvloop

BODY = b'{"id":"a_81","status":"created","amount":1200,"currency":"EUR"}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)


class _Trivial(asyncio.Protocol):
    """Reads requests with a Content-Length or without a body, also several in one packet or one in several."""

    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data
        while (head := buffer.find(b"\r\n\r\n")) >= 0:
            end = head + 4 + _length(buffer[:head])
            if len(buffer) < end:
                break
            buffer = buffer[end:]
            self._transport.write(ANSWER)
        self._buffer = buffer


def _length(head: bytes) -> int:
    at = head.lower().find(b"\r\ncontent-length:")
    return int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0


@contextlib.contextmanager
def trivial_server() -> Generator[str]:
    """The base URL of a server that runs until the context ends."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    port = listener.getsockname()[1]
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(listener,), daemon=True)
    process.start()
    listener.close()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.join()


def _serve(listener: socket.socket) -> None:
    uvloop.run(_forever(listener))


async def _forever(listener: socket.socket) -> None:
    server = await asyncio.get_running_loop().create_server(_Trivial, sock=listener)
    await server.serve_forever()
