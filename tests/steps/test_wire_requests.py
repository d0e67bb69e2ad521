"""Requests as bytes, and the connections they go over."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from yarl import URL

from mcp_workflows import __version__
from mcp_workflows.engine.outcome import Completed, Failed
from mcp_workflows.steps.client import Client
from mcp_workflows.steps.guard import Guard
from mcp_workflows.steps.request import Request
from tests.services.raw import Answer
from tests.steps.wire import OK, asking

pytestmark = pytest.mark.anyio

AGENT = f"User-Agent: mcp-workflows/{__version__}"


@pytest.mark.parametrize(
    ("method", "options", "lines"),
    [
        ("GET", {}, ["Accept: application/json, */*;q=0.8"]),
        ("HEAD", {}, ["Accept: application/json, */*;q=0.8"]),
        (
            "DELETE",
            {},
            ["Accept: application/json, */*;q=0.8", "Idempotency-Key: key", "Content-Length: 0"],
        ),
        (
            "POST",
            {"json": {"n": 1}},
            [
                "Accept: application/json, */*;q=0.8",
                "Idempotency-Key: key",
                "Content-Type: application/json",
                "Content-Length: 7",
            ],
        ),
        (
            "PUT",
            {"text": "", "headers": {"accept": "text/plain", "X-Name": "Zoë"}},
            [
                "accept: text/plain",
                "X-Name: Zoë",
                "Idempotency-Key: key",
                "Content-Type: text/plain; charset=utf-8",
                "Content-Length: 0",
            ],
        ),
    ],
    ids=["GET", "HEAD", "DELETE", "POST", "PUT"],
)
async def test_a_request_is_these_bytes(method: str, options: dict[str, Any], lines: list[str]) -> None:
    async with asking() as a:
        a.service.answers.append(Answer([b"HTTP/1.1 204 No Content\r\n\r\n"]))
        assert isinstance(await a.attempt(method, **options), Completed)
        head, _, body = a.service.requests[0].partition(b"\r\n\r\n")
        expected = ["Host: " + a.service.url.removeprefix("http://"), AGENT, "Accept-Encoding: gzip, deflate", *lines]
        first, *found = head.decode().split("\r\n")
    assert first == f"{method} /x HTTP/1.1"
    assert sorted(found) == sorted(expected)
    assert body == (b'{"n":1}' if "json" in options else b"")


async def test_how_an_answer_may_be_packed_is_the_authors_to_say() -> None:
    async with asking() as a:
        a.service.answers.append(Answer([OK]))
        await a.attempt("GET", headers={"ACCEPT-encoding": "identity"})
        head = a.service.requests[0].lower()
    assert head.count(b"accept-encoding") == 1
    assert b"accept-encoding: identity\r\n" in head


@pytest.mark.parametrize("size", [(1 << 15) - 1, 1 << 15, (1 << 15) + 1, 3_000_000])
async def test_a_body_of_any_size_arrives_whole(size: int) -> None:
    async with asking() as a:
        a.service.answers.append(Answer([OK]))
        assert isinstance(await a.attempt("POST", text="y" * size), Completed)
        head, _, body = a.service.requests[0].partition(b"\r\n\r\n")
    assert f"Content-Length: {size}\r\n".encode() in head + b"\r\n"
    assert body == b"y" * size


@pytest.mark.parametrize(
    "headers", [{"X": "a\r\nX-Injected: 1"}, {"X": "a\nb"}, {"X": "a\rb"}, {"X": "a\0b"}, {"X\r\nY": "a"}]
)
async def test_a_head_of_more_lines_than_were_meant_is_never_sent(headers: dict[str, str]) -> None:
    """The last look; what steps send is refused with its place before."""
    async with asking() as a:
        client = Client(Guard())
        with pytest.raises(ValueError, match="control character"):
            await client.send(Request("GET", URL(a.service.url), headers, None, {}), 1.0, lambda: None)
        await client.close()
        assert a.service.connections == 0


async def test_connections_that_nobody_uses_any_more_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_workflows.steps.pool.IDLE_SECONDS", 0.05)
    async with asking() as a:
        a.service.answers += [Answer([OK]) for _ in range(5)]
        await asyncio.gather(*(a.attempt() for _ in range(5)))
        assert a.service.connections == 5
        async with asyncio.timeout(5):
            await asyncio.gather(*a.service.tasks)
        assert a.service.left == 5


async def test_the_connection_that_was_used_last_is_used_next() -> None:
    """So a crowd's connections fall idle when the crowd is gone, instead of being kept alive in turns."""
    async with asking() as a:
        a.service.answers += [Answer([OK]) for _ in range(8)]
        await asyncio.gather(*(a.attempt() for _ in range(5)))
        connections = a.service.connections
        for _ in range(3):
            await a.attempt()
        assert a.service.connections == connections
        assert len(set(a.service.by[-3:])) == 1


async def test_closing_breaks_what_is_in_flight() -> None:
    async with asking() as a:
        waiting = asyncio.Event()
        a.service.answers.append(Answer([], said=waiting))
        attempt = asyncio.create_task(a.attempt())
        await waiting.wait()
        await a.close()
        outcome = await attempt
    assert isinstance(outcome, Failed)
    assert (outcome.error.code, outcome.error.in_doubt) == ("reset", True)
