"""Requests byte by byte, as no client library sends them."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from tests.mcp_server.requests import INITIALIZE

MODERN_META: Any = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
TASKS: Any = {**MODERN_META, "io.modelcontextprotocol/clientCapabilities": {
    "extensions": {"io.modelcontextprotocol/tasks": {}}, "elicitation": {"form": {}},
}}  # fmt: skip

END = b"0\r\n\r\n"
"""The last chunk of an answer: a proper end."""
_CLOSED = 7
"""The state of a connection that was reset, as ``TCP_INFO`` begins with it."""


class Wire:
    """One connection."""

    def __init__(self, url: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._url = url
        self.reader, self._writer = reader, writer

    def send(self, data: bytes) -> None:
        """Without waiting for anybody to take it."""
        self._writer.write(data)

    def request(self, body: object, headers: Mapping[str, str] | None = None, **options: Any) -> None:
        self.send(request(self._url, body, headers, **options))

    @property
    def is_cut_off(self) -> bool:
        """The other side cut the connection off. Seen without reading."""
        plug = self._writer.get_extra_info("socket")
        return plug.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _CLOSED

    async def cut_off(self) -> None:
        """Once it is."""
        async with asyncio.timeout(20):
            while not self.is_cut_off:  # noqa: ASYNC110 (the kernel tells nobody)
                await asyncio.sleep(0.02)

    async def until(self, text: bytes) -> bytes:
        """What came up to and with ``text``."""
        async with asyncio.timeout(20):
            return await self.reader.readuntil(text)

    async def status(self) -> int:
        """Of the next answer, as far as its head goes."""
        head = await self.until(b"\r\n\r\n")
        return int(head.split(b" ", 2)[1])

    async def answer(self) -> tuple[int, bytes]:
        """The next one, whole; if it is a stream, once that has ended."""
        head = await self.until(b"\r\n\r\n")
        lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        status = int(head.split(b" ", 2)[1])
        if lines.get(b"transfer-encoding") == b"chunked":
            return status, await self.until(END)
        async with asyncio.timeout(20):
            return status, await self.reader.readexactly(int(lines.get(b"content-length", b"0")))

    async def ended(self, seconds: float = 20) -> bool:
        """Once the other side ended it; what it said before is not looked at."""
        try:
            async with asyncio.timeout(seconds):
                while await self.reader.read(1 << 16):
                    pass
        except ConnectionError:
            return True
        except TimeoutError:
            return False
        return True


def request(
    url: str,
    body: object,
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "POST",
    path: str | None = None,
) -> bytes:
    """``body``: bytes as they are, or anything as JSON. The routing headers are those that the body needs."""
    parts = urlsplit(url)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {
        "Host": parts.netloc, "Accept": "application/json, text/event-stream", "Content-Type": "application/json",
        "Content-Length": str(len(content)), **_routing(body), **(headers or {}),
    }  # fmt: skip
    head = [f"{method} {path or parts.path} HTTP/1.1", *(f"{name}: {value}" for name, value in lines.items() if value)]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + content


def message(
    method: str, params: Mapping[str, Any] | None = None, *, number: object = 1, meta: Any = MODERN_META
) -> Any:
    """A request of 2026-07-28."""
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": {**(params or {}), "_meta": meta}}


def call(tool: str, *, number: object = 1, meta: Any = MODERN_META, **arguments: Any) -> Any:
    return message("tools/call", {"name": tool, "arguments": arguments}, number=number, meta=meta)


def _routing(body: Any) -> dict[str, str]:
    match body:
        case {"method": str(method), "params": {"_meta": _, **params}}:
            named = params.get("name") or params.get("uri") or params.get("taskId")
            return {
                "MCP-Protocol-Version": "2026-07-28",
                "Mcp-Method": method,
                **({"Mcp-Name": named} if named else {}),
            }
        case _:
            return {}


@asynccontextmanager
async def wire(url: str, *, takes: int | None = None) -> AsyncGenerator[Wire]:
    """A connection. ``takes``: bytes that this side of it holds before somebody reads them."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    plug = socket.socket()
    plug.setblocking(False)
    if takes is not None:
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, takes)
    await asyncio.get_running_loop().sock_connect(plug, (parts.hostname, parts.port))
    reader, writer = await asyncio.open_connection(sock=plug, limit=takes or 1 << 16)
    try:
        yield Wire(url, reader, writer)
    finally:
        writer.transport.abort()


async def opened(on: Wire, who: dict[str, str]) -> str:
    """A session of the handshake era."""
    on.request(INITIALIZE, who)
    head = await on.until(b"\r\n\r\n")
    await on.until(b"0\r\n\r\n")
    session = head.lower().split(b"mcp-session-id: ")[1].split(b"\r\n")[0].decode()
    on.request({"jsonrpc": "2.0", "method": "notifications/initialized"}, {**who, "Mcp-Session-Id": session})
    assert (await on.answer())[0] == 202
    return session


def legacy(tool: str, number: object = 1, **arguments: Any) -> Any:
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}
