"""A service that misbehaves on the wire, in the way that the path names, and remembers every call.

``async with misbehaving() as service`` runs it in the test's own event loop; ``python -m tests.services.misbehaving PORT`` as
its own process, where ``GET /_calls`` tells what was called and ``POST /_forget`` begins anew. It is written on raw sockets,
since no server library can be brought to break HTTP in all these ways.

| path | what it does |
| --- | --- |
| ``/ok`` ``/echo`` | answers; ``/echo`` with the request's method, target, headers and body |
| ``/status/422?retry_after=…`` | answers with that status |
| ``/body?type=…&b64=…`` | answers with these bytes of that content type |
| ``/raw?b64=…`` | sends these bytes, HTTP or not, and closes |
| ``/header?name=…&value=…`` | answers with that header, ``value`` percent-decoded to bytes |
| ``/redirect/302?to=…`` | redirects |
| ``/reset-before`` ``/reset-after`` | resets the connection before reading the body, or after |
| ``/close-after`` | reads the request and closes without an answer |
| ``/early-413`` | refuses and closes without having read the body |
| ``/upgrade`` | switches to another protocol that nobody asked for |
| ``/hang`` | reads the request and never answers |
| ``/slow-headers`` ``/drip`` | sends headers, or a body, so slowly that they never end |
| ``/huge`` ``/huge-declared`` | a body without end, or one declared as 10 GB |
| ``/short`` ``/bad-chunk`` ``/bad-chunk-late`` | a body that ends before its length, or in a chunk that is none |
| ``/long`` | more bytes than the length says: another answer, to nobody |
| ``/unsolicited`` | an answer, and right after it a 408 that nobody asked for |
| ``/leave-after`` | an answer, then the connection is closed without having said so |
| ``/leave-when-reused`` | an answer; the next request on that connection is read and the connection closed |
| ``/gzip-bomb`` ``/gzip-bad`` | 200 KB that unpack to 200 MB; bytes that are no gzip |
| ``/garbage`` ``/bad-header`` | no HTTP at all; a header line without a colon |
| ``/http10`` | HTTP/1.0, its body ended by closing |
| ``/gate`` | answers when ``service.open_gate()`` was called |
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import gzip
import io
import json
import socket
import struct
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote_to_bytes, urlsplit


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it arrived; ``connection`` counts from 1."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def key(self) -> str | None:
        return self.headers.get("idempotency-key")

    def query(self, name: str, default: str = "") -> str:
        return parse_qs(urlsplit(self.target).query).get(name, [default])[0]


@dataclass(slots=True)
class Misbehaving:
    """The running service."""

    url: str = ""
    calls: list[Call] = field(default_factory=list[Call])
    connections: int = 0
    _arrived: asyncio.Condition = field(default_factory=asyncio.Condition)
    _gate: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    @property
    def by_key(self) -> Counter[str]:
        """How often each idempotency key was called."""
        return Counter(call.key for call in self.calls if call.key is not None)

    async def arrived(self, count: int) -> None:
        """Waits until so many requests have come."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.calls) >= count)

    def open_gate(self) -> None:
        self._gate.set()

    async def wait_gate(self) -> None:
        await self._gate.wait()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.create_task(_Connection(self, reader, writer, self.connections).serve())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def record(self, call: Call) -> None:
        async with self._arrived:
            self.calls.append(call)
            self._arrived.notify_all()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@dataclass(slots=True)
class _Connection:
    service: Misbehaving
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int
    leaving: bool = False
    """The next request finds nobody."""

    async def serve(self) -> None:
        try:
            while await self._serve_one():
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.writer.close()
            with contextlib.suppress(ConnectionError):
                await self.writer.wait_closed()

    async def _serve_one(self) -> bool:
        head = await self.reader.readuntil(b"\r\n\r\n")
        line, *rest = head.decode("latin-1").rstrip().split("\r\n")
        method, target, _ = line.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (item.partition(":") for item in rest)}
        path = urlsplit(target).path
        if path == "/reset-before":
            await self.service.record(Call(method, target, headers, b"", self.number))
            self._reset()
            return False
        if path == "/early-413":
            await self.service.record(Call(method, target, headers, b"", self.number))
            await self.answer(413, {"error": "too large"})
            return False
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        call = Call(method, target, headers, body, self.number)
        if path.startswith("/_"):
            return await self._administer(call)
        await self.service.record(call)
        if self.leaving:
            return False
        behaviour = BEHAVIOURS.get(path.split("/")[1])
        if behaviour is None:
            await self.answer(404, {"error": f"no behaviour {path}"})
            return True
        return await behaviour(self, call)

    async def _administer(self, call: Call) -> bool:
        if call.path == "/_forget":
            self.service.calls.clear()
        shown = [
            {"method": c.method, "target": c.target, "key": c.key, "body": c.body.decode("latin-1")}
            for c in self.service.calls
        ]
        await self.answer(200, shown)
        return True

    def _reset(self) -> None:
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, status: int, content: Any, *headers: str) -> None:
        await self.answer_bytes(status, json.dumps(content).encode(), "Content-Type: application/json", *headers)

    async def answer_bytes(self, status: int, body: bytes, *headers: str) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers]
        await self.send("\r\n".join([*lines, "", ""]).encode() + body)

    # Behaviours: each answers whether the connection goes on.

    async def ok(self, call: Call) -> bool:
        await self.answer(200, {"ok": True, "call": len(self.service.calls)})
        return True

    async def echo(self, call: Call) -> bool:
        shown = {
            "method": call.method,
            "target": call.target,
            "headers": call.headers,
            "body": call.body.decode("latin-1"),
        }
        if call.method == "HEAD":
            await self.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\nContent-Type: application/json\r\n\r\n")
        else:
            await self.answer(200, shown)
        return True

    async def status(self, call: Call) -> bool:
        status = int(call.path.split("/")[2])
        retry_after = call.query("retry_after")
        headers = [f"Retry-After: {retry_after}"] if retry_after else []
        if status in {204, 304}:
            await self.send(b"HTTP/1.1 %d No Content\r\n\r\n" % status)
        else:
            await self.answer(status, {"error": f"status must be 200, not {status}"}, *headers)
        return True

    async def body(self, call: Call) -> bool:
        kind = call.query("type")
        status = int(call.query("status", "200"))
        headers = [f"Content-Type: {kind}"] if kind else []
        await self.answer_bytes(status, base64.urlsafe_b64decode(call.query("b64")), *headers)
        return True

    async def raw(self, call: Call) -> bool:
        await self.send(base64.urlsafe_b64decode(call.query("b64")))
        return False

    async def header(self, call: Call) -> bool:
        _, _, value = call.target.partition("value=")
        line = call.query("name").encode() + b": " + unquote_to_bytes(value)
        await self.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Twice: a\r\nX-Twice: b\r\n" + line + b"\r\n\r\n")
        return True

    async def redirect(self, call: Call) -> bool:
        await self.answer_bytes(int(call.path.split("/")[2]), b"", f"Location: {call.query('to')}")
        return True

    async def reset_after(self, call: Call) -> bool:
        self._reset()
        return False

    async def close_after(self, call: Call) -> bool:
        return False

    async def upgrade(self, call: Call) -> bool:
        await self.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        await self.reader.read()
        return False

    async def hang(self, call: Call) -> bool:
        await self.reader.read()
        return False

    async def slow_headers(self, call: Call) -> bool:
        await self.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await self.send(b"X-More: 1\r\n")
            await asyncio.sleep(0.05)

    async def drip(self, call: Call) -> bool:
        await self.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            await self.send(b"x")
            await asyncio.sleep(0.02)

    async def huge(self, call: Call) -> bool:
        await self.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await self.send(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")

    async def huge_declared(self, call: Call) -> bool:
        await self.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\nxxx")
        await self.reader.read()
        return False

    async def short(self, call: Call) -> bool:
        await self.send(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"ok":')
        return False

    async def bad_chunk(self, call: Call) -> bool:
        await self.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nnonsense\r\n")
        await self.reader.read()
        return False

    async def bad_chunk_late(self, call: Call) -> bool:
        await self.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await asyncio.sleep(0.05)
        await self.send(b"nonsense\r\n")
        await self.reader.read()
        return False

    async def long(self, call: Call) -> bool:
        stray = b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"stray":true}'
        await self.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}" + stray)
        return True

    async def unsolicited(self, call: Call) -> bool:
        await self.answer(200, {"ok": True})
        await asyncio.sleep(0.05)
        await self.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        return True

    async def leave_after(self, call: Call) -> bool:
        await self.answer(200, {"ok": True})
        return False

    async def leave_when_reused(self, call: Call) -> bool:
        await self.answer(200, {"ok": True})
        self.leaving = True
        return True

    async def gzip_bomb(self, call: Call) -> bool:
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"
        bomb = _bomb()
        await self.send(head % len(bomb) + bomb)
        return True

    async def gzip_bad(self, call: Call) -> bool:
        await self.answer_bytes(200, b"this is no gzip", "Content-Encoding: gzip")
        return True

    async def garbage(self, call: Call) -> bool:
        await self.send(b"220 mail.example.com ESMTP ready\r\n\r\n")
        return False

    async def bad_header(self, call: Call) -> bool:
        await self.send(b"HTTP/1.1 200 OK\r\nThis is no header\r\nContent-Length: 0\r\n\r\n")
        return False

    async def http10(self, call: Call) -> bool:
        await self.send(b'HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{"version": "1.0"}')
        return False

    async def gate(self, call: Call) -> bool:
        await self.service.wait_gate()
        await self.answer(200, {"ok": True})
        return True


_LONGEST_HEAD = 8 << 20
"""Bytes: ``/body`` carries what it answers in its target."""

Behaviour = Callable[[_Connection, Call], Awaitable[bool]]

BEHAVIOURS: dict[str, Behaviour] = {
    "ok": _Connection.ok,
    "echo": _Connection.echo,
    "status": _Connection.status,
    "body": _Connection.body,
    "raw": _Connection.raw,
    "header": _Connection.header,
    "redirect": _Connection.redirect,
    "reset-after": _Connection.reset_after,
    "close-after": _Connection.close_after,
    "upgrade": _Connection.upgrade,
    "hang": _Connection.hang,
    "slow-headers": _Connection.slow_headers,
    "drip": _Connection.drip,
    "huge": _Connection.huge,
    "huge-declared": _Connection.huge_declared,
    "short": _Connection.short,
    "bad-chunk": _Connection.bad_chunk,
    "bad-chunk-late": _Connection.bad_chunk_late,
    "long": _Connection.long,
    "unsolicited": _Connection.unsolicited,
    "leave-after": _Connection.leave_after,
    "leave-when-reused": _Connection.leave_when_reused,
    "gzip-bomb": _Connection.gzip_bomb,
    "gzip-bad": _Connection.gzip_bad,
    "garbage": _Connection.garbage,
    "bad-header": _Connection.bad_header,
    "http10": _Connection.http10,
    "gate": _Connection.gate,
}


def _bomb() -> bytes:
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=9) as file:
        for _ in range(200):
            file.write(bytes(1 << 20))
    return packed.getvalue()


@contextlib.asynccontextmanager
async def misbehaving(host: str = "127.0.0.1", port: int = 0) -> AsyncGenerator[Misbehaving]:
    """The service, listening; ``service.url`` is its base URL."""
    service = Misbehaving()
    server = await asyncio.start_server(service.accept, host, port, limit=_LONGEST_HEAD)
    name = f"[{host}]" if ":" in host else host
    service.url = f"http://{name}:{server.sockets[0].getsockname()[1]}"
    try:
        yield service
    finally:
        server.close()
        await service.stop()
        await server.wait_closed()


async def _forever(port: int) -> None:
    async with misbehaving(port=port) as service:
        sys.stdout.write(f"{service.url}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int, nargs="?", default=0)
    asyncio.run(_forever(parser.parse_args().port))
