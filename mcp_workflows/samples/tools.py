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
from multidict import CIMultiDict
from starlette.types import Message

from mcp_workflows.samples.service import Ask, Json

MCP_PATH: Final = "/mcp"
CALL_HEADER: Final = "x-samples-call"
"""Tells a tool the number of its call in the log."""
_KEY: Final = "idempotencykey"
"""What a key is called in a call's ``_meta``, without prefix, case, hyphens and underscores."""


class ToolDoor:
    """The way to one MCP server. Its ``running`` must be entered first."""

    def __init__(self, server: MCPServer[Any]) -> None:
        self._app = server.streamable_http_app(streamable_http_path=MCP_PATH, json_response=True, stateless_http=True)
        self.running = server.session_manager.run

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
        status, sent, content = 500, CIMultiDict[str](), bytearray()

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
                sent.extend((name.decode(), value.decode()) for name, value in message["headers"])
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
