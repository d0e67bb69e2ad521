"""Clients that begin and do not go on: with their request, with its body, with reading what they asked for."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from mcp import Client

from mcp_workflows.mcp_server.transport.connections import Bounds
from mcp_workflows.mcp_server.transport.http import listen
from mcp_workflows.runtime.views import RunQuery
from tests.attacks.stage import LARGE, WAITING, soon, waiting
from tests.attacks.wire import TASKS, call, message, wire
from tests.mcp_server.place import Place, place, told, until

pytestmark = pytest.mark.anyio

QUICK = Bounds(asking=1.0, sending=1.0, taking=1.0, look=0.05)
_MODERN = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "list_runs"}


@asynccontextmanager
async def served(folder: Path, bounds: Bounds) -> AsyncGenerator[tuple[Place, str]]:
    """Its connections hold little in the kernel, so that what is not read is noticed soon."""
    with listen("127.0.0.1", 0) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        async with (
            place(folder, {"large": LARGE, "waiting": WAITING}) as here,
            here.listening(bounds=bounds, listener=listener) as url,
        ):
            yield here, url


async def others_are_served(url: str) -> None:
    async with asyncio.timeout(10), Client(url) as client:
        assert told(await client.call_tool("large", {"text": "x"}))["status"] == "completed"


async def test_a_request_that_never_comes_to_its_end_ends_the_connection(tmp_path: Path) -> None:
    begun = (b"", b"P", b"POST /mcp HTTP/1.1\r\n", b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
    async with served(tmp_path, QUICK) as (_, url), AsyncExitStack() as open_:
        slow = [await open_.enter_async_context(wire(url)) for _ in range(5)]
        slow[4].request(call("list_runs"))
        assert await slow[4].status() == 200
        for one, text in zip(slow, (*begun, begun[3]), strict=True):
            one.send(text)
        ended = asyncio.gather(*(one.ended() for one in slow))
        while not ended.done():
            for one in slow[3:]:
                one.send(b"x")
            await asyncio.wait([ended], timeout=0.05)
        assert await ended == [True] * 5
        await others_are_served(url)


async def test_a_body_that_never_comes_to_its_end_ends_the_connection_and_starts_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    body = call("large", text="x")
    length = len(json.dumps(body))
    async with served(tmp_path, QUICK) as (here, url), AsyncExitStack() as open_:
        slow = [await open_.enter_async_context(wire(url)) for _ in range(4)]
        slow[0].request(body, {"Content-Length": str(length + 1)})
        slow[1].request(body, {"Content-Length": "9" * 15})
        slow[2].request(body, {"Content-Length": str(length + 1), "MCP-Protocol-Version": ""})
        slow[3].request(b"", {"Content-Length": "", "Transfer-Encoding": "chunked", **_MODERN})
        with caplog.at_level(logging.WARNING):
            ended = asyncio.gather(*(one.ended() for one in slow))
            while not ended.done():
                slow[3].send(b"1\r\n{\r\n")
                await asyncio.wait([ended], timeout=0.05)
            assert await ended == [True] * 4
        assert not (await here.app.runs.list(RunQuery(status="any"))).runs
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
        await others_are_served(url)


async def test_who_takes_its_time_within_the_bounds_is_answered(tmp_path: Path) -> None:
    body = json.dumps(call("list_runs")).encode()
    async with served(tmp_path, Bounds(asking=5, sending=5, taking=5, look=0.05)) as (_, url), wire(url) as slow:
        slow.request(b"", {**_MODERN, "Content-Length": str(len(body))})
        for byte in body[:-1]:
            slow.send(bytes([byte]))
            await asyncio.sleep(0)
        slow.send(body[-1:])
        assert await slow.status() == 200


async def test_a_client_that_does_not_read_its_answers_is_cut_off(tmp_path: Path) -> None:
    async with served(tmp_path, QUICK) as (here, url), wire(url, takes=4096) as deaf:
        run = await here.app.runs.start("large", {"text": "x" * 1_000_000}, actor="local")
        for number in range(30):
            deaf.request(message("resources/read", {"uri": f"run://{run.run_id}/result"}, number=number))
        assert await deaf.until(b"200 OK")
        await others_are_served(url)
        await deaf.cut_off()


async def test_a_stream_that_is_not_read_is_cut_off(tmp_path: Path) -> None:
    async with served(tmp_path, QUICK) as (here, url):
        tasks = [(await waiting(here, "local", "long " * 4000)).run_id for _ in range(100)]
        async with wire(url, takes=2048) as deaf:
            deaf.request(message("subscriptions/listen", {"notifications": {"taskIds": tasks}}, meta=TASKS))
            await deaf.cut_off()
        await others_are_served(url)
        await until(lambda: here.server.following == 0, soon)


async def test_who_asks_for_nothing_makes_room_for_who_does(tmp_path: Path) -> None:
    bounds = Bounds(most=20, asking=60, look=60)
    async with served(tmp_path, bounds) as (_, url), AsyncExitStack() as open_:
        silent = [await open_.enter_async_context(wire(url)) for _ in range(60)]
        for one in silent[::2]:
            one.send(b"POST /mcp HTTP/1.1\r\nHost: ")
        await others_are_served(url)


async def test_where_all_are_answered_the_next_is_turned_away_and_nobody_is_cut_off(tmp_path: Path) -> None:
    bounds = Bounds(most=10, asking=60, look=60)
    async with served(tmp_path, bounds) as (here, url), AsyncExitStack() as open_:
        run_id = (await waiting(here, "local")).run_id
        polls = [await open_.enter_async_context(wire(url)) for _ in range(10)]
        for one in polls:
            one.request(call("get_run", run_id=run_id, wait_seconds=50))
        await until(lambda: here.server.waiting == 10, soon)
        for _ in range(5):
            late = await open_.enter_async_context(wire(url))
            late.request(call("list_runs"))
            assert await late.ended()
        await here.app.runs.signal(run_id, "ask", {"decision": "approved"}, actor="local", via="mcp", person=False)
        for one in polls:
            assert await one.status() == 200


async def test_who_reads_slowly_but_steadily_gets_everything(tmp_path: Path) -> None:
    async with served(tmp_path, QUICK) as (here, url), wire(url, takes=16_384) as slow:
        run = await here.app.runs.start("large", {"text": "x" * 1_000_000}, actor="local")
        slow.request(message("resources/read", {"uri": f"run://{run.run_id}/result"}))
        read = len(await slow.until(b"\r\n\r\n"))
        while read < 1_000_000:
            piece = await slow.reader.read(8192)
            assert piece, "the server gave up"
            read += len(piece)
            await asyncio.sleep(2.5 * QUICK.taking / 125)  # in all, much longer than nothing may be taken


async def test_of_all_that_is_not_read_little_is_kept(tmp_path: Path) -> None:
    bounds = Bounds(unread=3_000_000, asking=60, taking=60, look=0.05)
    async with served(tmp_path, bounds) as (here, url), AsyncExitStack() as open_:
        run = await here.app.runs.start("large", {"text": "x" * 1_000_000}, actor="local")
        deaf = [await open_.enter_async_context(wire(url, takes=2048)) for _ in range(5)]
        for one in deaf:
            one.request(message("resources/read", {"uri": f"run://{run.run_id}/result"}))
            await one.until(b"200 OK")
        await until(lambda: sum(one.is_cut_off for one in deaf) == 2, soon)
        await others_are_served(url)
