"""The two ways to a server, as the SDK's transports, so wrapped that the end of one is noticed."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import httpx2
from mcp.client import stdio
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage

from mcp_workflows import __version__
from mcp_workflows.steps.mcp_tool.servers import McpServer
from mcp_workflows.steps.mcp_tool.wire import Wire
from mcp_workflows.steps.redact import redactor_of

_log = logging.getLogger(__name__)
_LINE = 4096


class Ending:
    """A stream of messages that tells when it has ended."""

    def __init__(self, stream: Any, on_end: Callable[[], None]) -> None:
        self._stream = stream
        self._on_end = on_end

    @property
    def last_context(self) -> Any:
        return getattr(self._stream, "last_context", None)

    async def receive(self) -> SessionMessage | Exception:
        try:
            return await self._stream.receive()
        except BaseException:
            self._on_end()
            raise

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await anext(self._stream)
        except BaseException:
            self._on_end()
            raise

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stream.__aexit__(kind, error, trace)


@asynccontextmanager
async def over_http(
    url: str, headers: dict[str, str], wire: Wire, limit: int, on_end: Callable[[], None]
) -> AsyncGenerator[tuple[Any, Any]]:
    """``limit``: bytes of one event."""
    agent = {"User-Agent": f"mcp-workflows/{__version__}", **headers}
    async with (
        # Every attempt has its own timeout.
        httpx2.AsyncClient(transport=wire, headers=agent, timeout=None, trust_env=False) as client,
        streamable_http_client(url, http_client=client, max_sse_event_size=limit) as (read, write),
    ):
        yield Ending(read, on_end), write


@asynccontextmanager
async def over_stdio(server: McpServer, on_end: Callable[[], None]) -> AsyncGenerator[tuple[Any, Any]]:
    """Starts the server's process, and ends it. What it writes to its standard error goes to the log."""
    assert server.command is not None
    parameters = stdio.StdioServerParameters(
        command=server.command, args=list(server.args), env=dict(server.env), cwd=server.cwd
    )
    reading, writing = os.pipe()
    threading.Thread(target=_log_lines, args=(server, reading), name=f"mcp-server-{server.name}", daemon=True).start()
    with os.fdopen(writing, "w") as errors:
        async with stdio.stdio_client(parameters, errlog=errors) as (read, write):
            yield Ending(read, on_end), write


def _log_lines(server: McpServer, reading: int) -> None:
    redactor = redactor_of(server.confidential)
    with os.fdopen(reading, encoding="utf-8", errors="replace") as lines:
        while line := lines.readline(_LINE):
            if line.strip():
                _log.info("MCP server %s: %s", server.name, redactor.text(line.rstrip()))
