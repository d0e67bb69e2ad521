"""A thousand at once, all of one actor: calls that wait, streams, sessions. Others are served, and memory stays bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mcp_workflows.mcp_server.subscriptions.announcer import MAX_STREAMS_EACH
from mcp_workflows.mcp_server.transport.sessions import MOST_EACH
from tests.attacks.stage import RUN, WAITING
from tests.attacks.wire import END, Wire, call, message, wire
from tests.mcp_server.actors import Actors
from tests.mcp_server.place import told
from tests.mcp_server.requests import INITIALIZE
from tests.recovery import server as process

pytestmark = pytest.mark.anyio

MANY = 1000
"""A quarter of the connections that a server has by default."""
MEGABYTE = 1 << 20
PING = {"jsonrpc": "2.0", "id": 2, "method": "ping"}


@dataclass
class Served:
    """By a process of its own."""

    server: process.ServerProcess
    actors: Actors

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def memory(self) -> int:
        """Bytes that it holds."""
        pages = Path(f"/proc/{self.server.pid}/statm").read_text().split()[1]
        return int(pages) * 4096

    async def call(self, actor: str, tool: str, **arguments: Any) -> dict[str, Any]:
        async with asyncio.timeout(10), self.actors.client(self.url, actor) as client:
            return told(await client.call_tool(tool, arguments))


@asynccontextmanager
async def served(folder: Path) -> AsyncGenerator[Served]:
    actors = Actors(folder, {"anna": RUN, "eve": RUN, "boss": ("workflows:operate",)})
    async with process.place(folder) as here:
        here.define("waiting", WAITING)
        yield Served(await here.serve(TOKENS=str(folder / "tokens")), actors)


async def test_a_thousand_calls_that_wait_keep_nobody_else_waiting(tmp_path: Path) -> None:
    async with served(tmp_path) as on, AsyncExitStack() as open_:
        run_id = (await on.call("eve", "waiting"))["run_id"]
        before = on.memory
        polls = [await open_.enter_async_context(wire(on.url)) for _ in range(MANY)]
        for one in polls:
            one.request(call("get_run", run_id=run_id, wait_seconds=50), on.actors.header("eve"))
        async with wire(on.url) as more, asyncio.timeout(20):
            status = 200
            while status != 429:  # the thousand are on their way
                more.request(call("list_runs"), on.actors.header("eve"))
                status, _ = await more.answer()
        assert (await on.call("anna", "waiting"))["status"] in {"running", "waiting"}
        assert on.memory - before < 150 * MEGABYTE
        await on.call("boss", "signal_run", run_id=run_id, name="ask", data={"decision": "approved"})
        for one in polls:
            assert await one.status() == 200


async def test_an_actor_has_so_many_streams_open_and_others_have_theirs(tmp_path: Path) -> None:
    async with served(tmp_path) as on, AsyncExitStack() as open_:
        listen = message("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
        before = on.memory
        streams = [await open_.enter_async_context(wire(on.url)) for _ in range(MANY - 100)]
        for one in streams:
            one.request(listen, on.actors.header("eve"))
        begun = [await one.status() for one in streams]
        assert sorted(begun) == [200] * MAX_STREAMS_EACH + [400] * (MANY - 100 - MAX_STREAMS_EACH)
        assert on.memory - before < 100 * MEGABYTE
        async with wire(on.url) as other:
            other.request(listen, on.actors.header("anna"))
            assert await other.until(b"acknowledged")


async def test_who_opens_session_after_session_ends_their_own_oldest_and_nobody_else_s(tmp_path: Path) -> None:
    async with served(tmp_path) as on, wire(on.url) as asking, on.actors.client(on.url, "anna", "legacy") as anna:
        before = on.memory
        opened: list[str] = []
        for _ in range(MANY):
            asking.request(INITIALIZE, on.actors.header("eve"))
            opened.append(await session_of(asking))
        assert on.memory - before < 100 * MEGABYTE

        async def status(session: str) -> int:
            asking.request(PING, {**on.actors.header("eve"), "Mcp-Session-Id": session})
            return (await asking.answer())[0]

        assert [await status(one) for one in (opened[0], opened[-MOST_EACH - 1])] == [404, 404]
        assert [await status(one) for one in (opened[-MOST_EACH], opened[-1])] == [200, 200]
        assert told(await anna.call_tool("waiting", {}))["status"] in {"running", "waiting"}


async def session_of(wire: Wire) -> str:
    """That the next answer opens."""
    head = await wire.until(b"\r\n\r\n")
    await wire.until(END)
    return head.lower().split(b"mcp-session-id: ")[1].split(b"\r\n")[0].decode()
