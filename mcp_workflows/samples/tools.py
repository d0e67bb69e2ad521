"""An MCP server behind a path of an aiohttp application, so that its calls fail on request like those of any service.

The SDK serves ASGI. Requests are handed to it whole and its answers are taken whole: there are no streams here, and
none of the desk's tools needs one.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web
from mcp.server.mcpserver import MCPServer
from starlette.types import Message

from mcp_workflows.samples.service import Ask, Json

MCP_PATH: Final = "/mcp"
CALL_HEADER: Final = "x-samples-call"
"""Tells a tool the number of its call in the log."""
_KEY: Final = "idempotencykey"
"""What a key is called in a call's ``_meta``, without prefix, case, hyphens and underscores."""


class ToolDoor:
    """The way to one MCP server, once it is open."""

    def __init__(self, server: MCPServer[Any]) -> None:
        self._app = server.streamable_http_app(streamable_http_path=MCP_PATH, json_response=True, stateless_http=True)
        self._server = server
        self._closing = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """The SDK's tasks get one of their own around them, so that no failure of the caller's is wrapped in theirs."""
        opened = asyncio.Event()
        self._running = asyncio.create_task(self._run(opened))
        await opened.wait()

    async def close(self) -> None:
        self._closing.set()
        if self._running is not None:
            await self._running

    async def _run(self, opened: asyncio.Event) -> None:
        async with self._server.session_manager.run():
            opened.set()
            await self._closing.wait()

    async def forward(self, request: web.Request, number: int | None) -> web.Response:
        """The SDK's answer."""
        body = await request.read()
        headers = [(name.lower().encode(), value.encode()) for name, value in request.headers.items()]
        if number is not None:
            headers.append((CALL_HEADER.encode(), str(number).encode()))
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "root_path": "",
            "method": request.method, "path": request.path, "raw_path": request.path.encode(),
            "query_string": request.query_string.encode(), "headers": headers, "client": None, "server": None,
        }  # fmt: skip
        asked = False
        status, content = 500, bytearray()
        sent: dict[str, str] = {}

        async def receive() -> Message:
            nonlocal asked
            if asked:
                await asyncio.Event().wait()  # whoever asks again waits for the caller to leave
            asked = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                sent.update((name.decode(), value.decode()) for name, value in message["headers"])
            else:
                content.extend(message.get("body", b""))

        await self._app(scope, receive, send)
        sent.pop("content-length", None)
        return web.Response(status=status, headers=sent, body=bytes(content))


def tool_call(message: Mapping[str, Json], headers: Mapping[str, str]) -> Ask | None:
    """The call of a tool that a JSON-RPC message asks for, or ``None``."""
    if message.get("method") != "tools/call":
        return None
    params = message["params"]
    told = {re.sub("^.*/|[-_]", "", name).lower(): value for name, value in params.get("_meta", {}).items()}
    keyed = {**headers, "idempotency-key": told[_KEY]} if _KEY in told else headers
    return Ask("CALL", params["name"], params.get("arguments") or {}, headers=keyed)
