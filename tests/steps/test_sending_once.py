"""A request is sent once. Whoever wants it twice decides that with a record, and never the client by itself."""

from __future__ import annotations

import asyncio

import pytest

from mcp_workflows.engine.outcome import Completed, Failed
from tests.steps.calls import bench

pytestmark = pytest.mark.anyio

METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"]


@pytest.mark.parametrize("method", METHODS)
async def test_a_kept_connection_that_closes_when_reused_is_not_tried_a_second_time(method: str) -> None:
    """aiohttp's own session would send GET, HEAD, PUT and DELETE again here."""
    async with bench() as b:
        await b.completed("/leave-when-reused")
        error = await b.failed("/ok", method, key="only-once")
        assert (error.code, error.in_doubt) == ("reset", method not in {"GET", "HEAD"})
        assert [call.path for call in b.service.calls] == ["/leave-when-reused", "/ok"]
        assert b.service.connections == 1
        if method not in {"GET", "HEAD"}:
            assert b.service.by_key == {"only-once": 1}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", ["/reset-before", "/reset-after", "/close-after"])
async def test_a_connection_that_breaks_is_not_tried_a_second_time(method: str, path: str) -> None:
    async with bench() as b:
        await b.completed("/ok")
        await b.failed(path, method)
        assert [call.path for call in b.service.calls] == ["/ok", path]


async def test_a_kept_connection_that_has_closed_is_noticed_before_anything_is_sent() -> None:
    """Not even a loop that was held up, and so has not heard of the closing, sends a request into the void."""
    async with bench() as b:
        for number in range(20):
            await b.completed("/leave-after", "POST", key=f"first-{number}")
            await b.completed("/ok", "POST", key=f"second-{number}")
        assert set(b.service.by_key.values()) == {1}
        assert len(b.service.by_key) == 40


@pytest.mark.parametrize("path", ["/long", "/unsolicited"])
async def test_an_answer_to_nobody_is_never_taken_for_the_next_ones(path: str) -> None:
    async with bench() as b:
        await b.completed(path, "POST")
        await asyncio.sleep(0.1)  # the service speaks out of turn meanwhile
        result = await b.completed("/ok", "POST")
        assert result["body"] == {"ok": True, "call": 2}


async def test_a_kept_connection_is_not_used_for_longer_than_common_servers_keep_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mcp_workflows.steps.pool.IDLE_SECONDS", 0.05)
    async with bench() as b:
        await b.completed("/ok")
        await asyncio.sleep(0.2)
        await b.completed("/ok")
        assert b.service.connections == 2


async def test_a_crowd_of_requests_is_each_sent_once_over_connections_that_break_at_random() -> None:
    paths = ["/ok", "/leave-after", "/leave-when-reused", "/reset-after", "/status/503", "/short", "/long"]
    async with bench() as b:
        calls = [b.attempt(paths[n % len(paths)], "POST", key=f"k{n}") for n in range(350)]
        outcomes = await asyncio.gather(*calls)
        counts = b.service.by_key
    assert max(counts.values()) == 1
    for number, outcome in enumerate(outcomes):
        if isinstance(outcome, Completed):
            assert counts[f"k{number}"] == 1
        elif counts[f"k{number}"] == 1:
            assert isinstance(outcome, Failed)
            assert outcome.error.in_doubt, "it arrived, so it is in doubt"
