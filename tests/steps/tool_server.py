"""An MCP server for tests, run as a process of its own: ``tool_server.py stdio | http PORT [legacy] [sse]``.

Over HTTP it prints its port. ``legacy`` answers as servers did before ``server/discover``.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import uvicorn
from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, TextContent
from pydantic import BaseModel

server = MCPServer("tools")
log = Path(os.environ["CALL_LOG"]) if "CALL_LOG" in os.environ else None


def _note(what: str) -> None:
    if log is not None:
        with log.open("a") as lines:
            lines.write(what + "\n")


class Point(BaseModel):
    x: int
    y: int


@server.tool()
def echo(text: str) -> CallToolResult:
    """Says it again."""
    _note(f"echo {text}")
    return CallToolResult(content=[TextContent(type="text", text=text)])


@server.tool()
def point(x: int, y: int) -> Point:
    return Point(x=x, y=y)


@server.tool()
async def slow(seconds: float) -> str:
    _note("slow began")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        _note("slow cancelled")
        raise
    _note("slow ended")
    return "slept"


@server.tool()
def fail() -> str:
    raise ToolError("the printer is on fire")


@server.tool()
def vanish() -> str:
    _note("vanish")
    os._exit(3)


@server.tool()
def told(ctx: Context[Any, Any]) -> dict[str, Any]:
    meta: Any = ctx.request_context.meta or {}
    headers = dict(ctx.headers or {})
    return {
        "key": meta.get("io.github.mcp-workflows/idempotency-key"),
        "authorization": headers.get("authorization"),
        "tenant": headers.get("x-tenant"),
        "pid": os.getpid(),
        "environment": sorted(os.environ),
        "era": ctx.protocol_version,
    }


@server.tool()
def several() -> CallToolResult:
    image = Image(data=b"\x89PNG" * 3, format="png").to_image_content()
    return CallToolResult(content=[TextContent(type="text", text="one"), image, TextContent(type="text", text="two")])


@server.tool()
def large(size: int) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text="x" * size)])


@server.tool()
def liar() -> CallToolResult:
    """Gives what its schema does not promise."""
    return CallToolResult(content=[TextContent(type="text", text="no")], structured_content={"x": "not a number"})


class _Legacy:
    """Refuses ``server/discover`` as servers do that have never heard of it."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body, more = b"", scope["method"] == "POST"
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        if body and json.loads(body).get("method") == "server/discover":
            answer = {"jsonrpc": "2.0", "id": json.loads(body)["id"], "error": {"code": -32601, "message": "no method"}}
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": json.dumps(answer).encode()})
            return
        first = True

        async def again() -> Any:
            nonlocal first
            if first:
                first = False
                return {"type": "http.request", "body": body, "more_body": False}
            return await receive()

        await self._app(scope, again, send)


def main() -> None:
    how, *options = sys.argv[1:]
    print("started", file=sys.stderr, flush=True)  # noqa: T201
    if how == "stdio":
        server.run("stdio")
        return
    app: Any = server.streamable_http_app(json_response="sse" not in options)
    if "legacy" in options:
        app = _Legacy(app)
    config = uvicorn.Config(app, log_level="critical", lifespan="on", timeout_graceful_shutdown=0)
    listening = _bound(int(options[0]))
    print(listening.getsockname()[1], flush=True)  # noqa: T201
    uvicorn.Server(config).run(sockets=[listening])


def _bound(port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen(128)
    return listening


if __name__ == "__main__":
    main()
