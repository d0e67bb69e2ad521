"""Clients that go on: whatever becomes of a connection or a server, they call the next one."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import aiohttp
from mcp import Client
from mcp_types import CallToolResult, TextContent

from tests.soak.cluster import Slot

Told: TypeAlias = dict[str, Any]

VERSION = "2026-07-28"
LONGEST = 20.0
"""Seconds that a call is waited for beyond what it is asked to wait: a server that stands still does not answer."""
_NOW_AND_THEN = ("The service is stopping", "The service is unwell")
"""How refusals begin that say: call again."""


class Refused(Exception):
    """The tool's own words."""


class Again(Exception):
    """No answer, or one that says to call again."""


class Caller(Protocol):
    """``call`` answers with the run object, or raises ``Refused``; it calls for as long as it takes."""

    async def call(self, tool: str, arguments: Told) -> Told: ...
    async def close(self) -> None: ...


class PlainCaller:
    """JSON over HTTP, as the protocol of 2026 has it: every call may go to any server."""

    def __init__(self, slots: Sequence[Slot], dice: random.Random) -> None:
        self._slots = slots
        self._dice = dice
        self._session = aiohttp.ClientSession()

    async def call(self, tool: str, arguments: Told) -> Told:
        while True:
            try:
                return await self._call(self._dice.choice(self._slots).url, tool, arguments)
            except (aiohttp.ClientError, OSError, TimeoutError, Again):
                await asyncio.sleep(0.1)

    async def close(self) -> None:
        await self._session.close()

    async def _call(self, url: str, tool: str, arguments: Told) -> Told:
        meta = {"protocolVersion": VERSION, "clientCapabilities": {}, "clientInfo": {"name": "soak", "version": "1"}}
        body = {
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {
                "name": tool, "arguments": arguments,
                "_meta": {f"io.modelcontextprotocol/{name}": value for name, value in meta.items()},
            },
        }  # fmt: skip
        headers = {
            "Accept": "application/json, text/event-stream", "MCP-Protocol-Version": VERSION,
            "Mcp-Method": "tools/call", "Mcp-Name": tool,
        }  # fmt: skip
        timeout = aiohttp.ClientTimeout(LONGEST + arguments.get("wait_seconds", 0), connect=3)
        async with self._session.post(f"{url}/mcp", json=body, headers=headers, timeout=timeout) as response:
            text = await response.text()
            if response.status != 200:
                raise Again(f"{response.status} {text}")
        if text.startswith(("event:", "data:", ":", "id:", "\r\n")):
            text = [line for line in text.splitlines() if line.startswith("data: ")][-1].removeprefix("data: ")
        answer = json.loads(text)
        assert "result" in answer, f"{tool} {arguments}: {answer}"
        result = answer["result"]
        return _told(result["isError"], result["content"][0]["text"], result.get("structuredContent"))


class OfficialCaller:
    """The official client, connected to one server until that fails; then to another.

    It lives in a task of its own, which it takes along when its connection breaks.
    """

    def __init__(self, slots: Sequence[Slot], dice: random.Random, mode: Any) -> None:
        self._slots = slots
        self._dice = dice
        self._mode = mode
        self._asked: asyncio.Queue[tuple[str, Told]] = asyncio.Queue()
        self._answered: asyncio.Queue[CallToolResult] = asyncio.Queue()
        self._connection: asyncio.Task[None] | None = None

    async def call(self, tool: str, arguments: Told) -> Told:
        while True:
            try:
                return await self._call(tool, arguments)
            except Again:
                await asyncio.sleep(0.1)

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.cancel()
            await asyncio.wait([connection])
            if not connection.cancelled():
                connection.exception()  # it was broken; that is why it is closed

    async def _call(self, tool: str, arguments: Told) -> Told:
        if self._connection is None:
            self._asked, self._answered = asyncio.Queue(), asyncio.Queue()
            self._connection = asyncio.create_task(self._connected(f"{self._dice.choice(self._slots).url}/mcp"))
        self._asked.put_nowait((tool, arguments))
        answer = asyncio.create_task(self._answered.get())
        try:
            await asyncio.wait(
                {answer, self._connection}, timeout=LONGEST + arguments.get("wait_seconds", 0),
                return_when=asyncio.FIRST_COMPLETED,
            )  # fmt: skip
            if not answer.done():
                await self.close()
                raise Again(f"no answer to {tool}")
            result = answer.result()
        finally:
            answer.cancel()
        block = result.content[0]
        assert isinstance(block, TextContent)
        return _told(result.is_error, block.text, result.structured_content)

    async def _connected(self, url: str) -> None:
        async with Client(url, mode=self._mode) as client:
            while True:
                tool, arguments = await self._asked.get()
                self._answered.put_nowait(await client.call_tool(tool, arguments))


def _told(is_error: bool, text: str, structured: Told | None) -> Told:
    if structured is not None:
        return structured
    assert is_error, text
    if text.startswith(_NOW_AND_THEN):
        raise Again(text)
    raise Refused(text)
