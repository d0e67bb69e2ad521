"""The same thing again and again, by somebody who may do it once."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.attacks.stage import stage
from tests.attacks.wire import call, message, opened, request, wire

pytestmark = pytest.mark.anyio

TIMES = 100


async def test_a_hundred_cancellations_and_answers_leave_one_message_each(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, wire(on.url) as one, wire(on.url) as another:
        cancelled, answered = (await on.waiting("anna")).run_id, (await on.waiting("anna")).run_id
        who = on.header("anna")
        cancel = request(on.url, call("cancel_run", run_id=cancelled), who)
        answer = request(on.url, call("signal_run", run_id=answered, name="ask", data={"decision": "approved"}), who)
        one.send(cancel * TIMES)
        another.send(answer * TIMES)
        for wire_ in (one, another):
            for _ in range(TIMES):
                assert (await wire_.answer())[0] == 200
        for run_id, status in ((cancelled, "cancelled"), (answered, "completed")):
            assert (await on.here.app.runs.wait(run_id, actor=None, seconds=20)).status == status
            assert len((await on.here.app.runs.trace(run_id, actor=None)).messages) == 1


async def test_as_many_at_once_leave_a_few(tmp_path: Path, url: str) -> None:
    """Those that look while the first is taken in may leave one of their own."""
    async with stage(tmp_path, url=url) as on, AsyncExitStack() as open_:
        run_id = (await on.waiting("anna")).run_id
        wires = [await open_.enter_async_context(wire(on.url)) for _ in range(40)]
        for number, one in enumerate(wires):
            one.request(call("cancel_run", run_id=run_id, reason=f"reason {number}"), on.header("anna"))
        for one in wires:
            assert b'"cancelled"' in (await one.answer())[1].replace(b"\\", b"")
        assert 1 <= len((await on.here.app.runs.trace(run_id, actor=None)).messages) <= 4


async def test_signals_that_nothing_waits_for_are_not_kept(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, wire(on.url) as anna:
        run_id = (await on.waiting("anna")).run_id
        body = call("signal_run", run_id=run_id, name="nothing", data={"text": "x" * 10_000})
        anna.send(request(on.url, body, on.header("anna")) * TIMES)
        for _ in range(TIMES):
            assert b'"isError":true' in (await anna.answer())[1]
        assert not (await on.here.app.runs.trace(run_id, actor=None)).messages


async def test_connections_are_begun_no_more_often_than_ten_times_for_each_call(tmp_path: Path) -> None:
    async with stage(tmp_path, per_minute=5) as on, wire(on.url) as eve, wire(on.url) as anna:
        who = on.header("eve")
        session = await opened(eve, who)
        refused: list[bool] = []
        for number in range(60):
            if number % 2:
                eve.request(message("tools/list"), who)
            else:
                ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
                eve.request(ping, {**who, "Mcp-Session-Id": session})
            refused.append(b"Too many calls" in (await eve.answer())[1])
        assert refused[:49] == [False] * 49
        assert refused.count(True) >= 5
        eve.request(call("list_runs"), who)
        assert b'"runs"' in (await eve.answer())[1], "calls are counted for themselves"
        anna.request(message("tools/list"), on.header("anna"))
        assert b'"tools"' in (await anna.answer())[1]


async def test_a_hundred_who_ask_how_it_is_ask_the_database_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(tmp_path) as on:
        asked = 0
        list_runs = on.here.app.runs.list

        async def counted(*arguments: object) -> object:
            nonlocal asked
            asked += 1
            return await list_runs(*arguments)  # pyright: ignore[reportArgumentType]

        monkeypatch.setattr(on.here.app.runs, "list", counted)

        async def health() -> int:
            async with wire(on.url) as anybody:
                anybody.request(b"", method="GET", path="/healthz")
                return (await anybody.answer())[0]

        assert await asyncio.gather(*(health() for _ in range(100))) == [200] * 100
        assert asked < 20
