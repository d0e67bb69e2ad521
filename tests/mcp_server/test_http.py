"""What only HTTP has: who may ask, how much, health, and an end that does not wait for idle streams."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client

from mcp_workflows.errors import SettingsInvalid
from mcp_workflows.mcp_server.transport import departure
from mcp_workflows.mcp_server.transport.http import serve_http
from tests.mcp_server.place import place, told
from tests.mcp_server.requests import HEADERS, INITIALIZE, MODERN
from tests.mcp_server.workflows import SLOW, STRICT
from tests.store.faults import held

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:1234"}, 200),
        ({"Host": "localhost"}, 200),
        ({"Host": "workflows.example"}, 200),
        ({"Host": "evil.example"}, 421),
        ({"Host": "localhost.evil.example:80"}, 421),
        ({"Origin": "http://localhost:6274"}, 200),
        ({"Origin": "https://workflows.example"}, 200),
        ({"Origin": "https://pages.example"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Content-Type": "text/plain"}, 400),
    ],
)
async def test_only_known_hosts_and_origins_may_ask(tmp_path: Path, headers: dict[str, str], status: int) -> None:
    async with place(tmp_path, {"register": STRICT}) as here:
        stop, url = asyncio.Event(), asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(
            serve_http(
                here.server,
                "127.0.0.1",
                0,
                stop=stop,
                allowed_hosts=["workflows.example"],
                allowed_origins=["https://pages.example"],
                listening=url.set_result,
            )
        )
        async with httpx2.AsyncClient(trust_env=False) as client:
            answer = await client.post(await url, json=INITIALIZE, headers={**HEADERS, **headers})
        stop.set()
        await serving
        assert answer.status_code == status


async def test_a_request_without_measure_is_turned_away_before_it_is_read(tmp_path: Path) -> None:
    async with (
        place(tmp_path, {"register": STRICT}) as here,
        here.listening() as url,
        httpx2.AsyncClient(trust_env=False) as client,
    ):
        answer = await client.post(url, content=b"x" * (5 * 1024 * 1024), headers=HEADERS)
        assert answer.status_code == 413
        assert (await client.get(url.replace("/mcp", "/healthz"))).status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"no json", 400),
        (b"[]", 400),
        (b"[" * 100_000, 400),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"register","arguments":'
         + b'{"a":' * 3000 + b"1" + b"}" * 3000 + b"}}", 400),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":', 400),
    ],
)  # fmt: skip
@pytest.mark.parametrize("headers", [HEADERS, MODERN])
async def test_what_is_no_message_is_refused_and_the_server_goes_on(
    tmp_path: Path, body: bytes, status: int, headers: dict[str, str]
) -> None:
    async with place(tmp_path, {"register": STRICT}) as here, here.listening() as url:
        async with httpx2.AsyncClient(trust_env=False) as client:
            answer = await client.post(url, content=body, headers=headers)
            assert answer.status_code == status
            assert answer.json()["error"]["message"]
        async with Client(url) as client:
            assert told(await client.call_tool("register", {"email": "a@b.org"}))["status"] == "completed"


async def test_half_of_a_surrogate_pair_is_refused_in_words(tmp_path: Path) -> None:
    async with place(tmp_path, {"register": STRICT}) as here, here.listening() as url:
        async with httpx2.AsyncClient(trust_env=False) as client:
            answer = await client.post(url, content=_call('{"email":"a@b.org","anything":"\\ud800"}'), headers=MODERN)
        result = answer.json()["result"]
        assert result["isError"]
        assert result["content"][0]["text"] == (
            "Input refused, no run was started. A text holds half of a surrogate pair ('\\ud800'), which is no character."
        )


async def test_health_says_whether_the_database_answers(tmp_path: Path) -> None:
    async with place(tmp_path, {"register": STRICT}) as here, here.listening() as url:
        async with httpx2.AsyncClient(trust_env=False) as client:
            answer = await client.get(url.replace("/mcp", "/healthz"))
        assert answer.status_code == 200
        assert answer.json()["status"] == "ok"
        assert answer.json()["workflows"] == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.com"])
async def test_nobody_else_can_reach_a_server_without_authentication(tmp_path: Path, host: str) -> None:
    async with place(tmp_path, {"register": STRICT}) as here:
        with pytest.raises(SettingsInvalid, match="can be reached from other machines"):
            await serve_http(here.server, host, 0, stop=asyncio.Event())


async def test_an_address_that_is_taken_is_said_to_be(tmp_path: Path) -> None:
    async with place(tmp_path, {"register": STRICT}) as here, here.listening() as url:
        port = int(url.removesuffix("/mcp").rsplit(":", 1)[1])
        with pytest.raises(SettingsInvalid, match=rf"Cannot listen on 127\.0\.0\.1:{port}: "):
            await serve_http(here.server, "127.0.0.1", port, stop=asyncio.Event())


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_server_ends_at_once_though_clients_keep_streams_open(
    tmp_path: Path, mode: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with place(tmp_path, {"slow": SLOW}) as here:
        stop, url = asyncio.Event(), asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(serve_http(here.server, "127.0.0.1", 0, stop=stop, listening=url.set_result))
        async with Client(await url, mode=mode) as client:
            run = told(await client.call_tool("slow_one", {}))
            waiting = asyncio.create_task(client.call_tool("get_run", {"run_id": run["run_id"], "wait_seconds": 50}))
            await client.list_tools()
            stop.set()
            async with asyncio.timeout(1.5):
                answer = told(await waiting)
                await serving
        assert answer["next"].startswith("The service is stopping")
        assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_server_that_stops_lets_nobody_in_and_tells_who_is_there_that_it_was_the_last_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client whose call comes while connections are closed could not know what became of it."""
    monkeypatch.setattr(departure, "SEEING_OFF_SECONDS", 60.0)
    async with place(tmp_path, {"register": STRICT}) as here:
        stop, url = asyncio.Event(), asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(serve_http(here.server, "127.0.0.1", 0, stop=stop, listening=url.set_result))
        health = (await url).replace("/mcp", "/healthz")
        async with httpx2.AsyncClient(trust_env=False) as known, asyncio.timeout(20):
            assert "connection" not in (await known.get(health)).headers
            stop.set()
            await here.server.stopping.wait()
            async with httpx2.AsyncClient(trust_env=False) as late:
                with pytest.raises(httpx2.ConnectError):
                    await late.get(health)
            answer = await known.get(health)
            assert (answer.status_code, answer.headers["connection"]) == (200, "close")
            with pytest.raises(httpx2.ConnectError):
                await known.get(health)
            await serving


async def test_a_call_that_a_server_cannot_answer_before_it_goes_is_told_to_ask_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the database is away just then. What became of the call is not known, and 500 would say that it is."""
    async with place(tmp_path, {"register": STRICT}) as here:
        stop, url = asyncio.Event(), asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(serve_http(here.server, "127.0.0.1", 0, stop=stop, listening=url.set_result))
        endpoint, begun, start = await url, asyncio.Event(), here.app.runs.start

        async def starting(*given: Any, **options: Any) -> Any:
            begun.set()
            return await start(*given, **options)

        monkeypatch.setattr(here.app.runs, "start", starting)
        async with httpx2.AsyncClient(trust_env=False) as client, asyncio.timeout(20):
            with held(here.app.store):
                changed = asyncio.ensure_future(
                    client.post(endpoint, content=_call('{"email": "a@b.org"}'), headers=MODERN, timeout=20)
                )
                await begun.wait()
                stop.set()
                answer = await changed
            await serving
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "ask again" in answer.json()["error"]


async def test_a_stream_that_a_server_cannot_bring_to_an_end_before_it_goes_ends_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its client sees that no result came, and the log no trace of a defect."""
    async with place(tmp_path, {"register": STRICT}) as here:
        stop, url = asyncio.Event(), asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(serve_http(here.server, "127.0.0.1", 0, stop=stop, listening=url.set_result))
        endpoint, begun, start = await url, asyncio.Event(), here.app.runs.start

        async def starting(*given: Any, **options: Any) -> Any:
            begun.set()
            return await start(*given, **options)

        monkeypatch.setattr(here.app.runs, "start", starting)
        async with httpx2.AsyncClient(trust_env=False, headers=HEADERS, timeout=20) as client, asyncio.timeout(20):
            opened = await client.post(endpoint, json=INITIALIZE)
            session = {"Mcp-Session-Id": opened.headers["mcp-session-id"], "MCP-Protocol-Version": "2025-11-25"}
            initialized = {"jsonrpc": "2.0", "method": "notifications/initialized"}
            await client.post(endpoint, json=initialized, headers=session)
            with held(here.app.store):
                content = _call('{"email": "a@b.org"}')
                async with client.stream("POST", endpoint, content=content, headers=session) as streaming:
                    await begun.wait()
                    stop.set()
                    answer = await streaming.aread()
            await serving
    assert streaming.headers["content-type"].startswith("text/event-stream")
    assert b"result" not in answer
    assert [one.getMessage() for one in caplog.records if one.exc_info] == []


def _call(arguments: str) -> str:
    return (
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"register","arguments":'
        + arguments
        + ',"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",'
        '"io.modelcontextprotocol/clientCapabilities":{}}}}'
    )
