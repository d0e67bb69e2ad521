"""``mcp_tool`` steps against real servers: over HTTP on loopback and over the pipes of a child process, in both eras."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mcp_workflows.definition.program import Auth, McpToolWork
from mcp_workflows.engine.outcome import Failed
from mcp_workflows.steps.mcp_tool import sessions
from mcp_workflows.steps.mcp_tool.servers import McpServer
from tests.mortal import mortal
from tests.services.misbehaving import misbehaving
from tests.steps.calling import Calling, calling
from tests.steps.calls import body_path, template

pytestmark = pytest.mark.anyio
HERE = Path(__file__).parent


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """One event loop is enough here: what differs between them is below the SDK, and each server is a process."""
    return "asyncio", {"use_uvloop": True}


@dataclass
class Place:
    """A server, by whatever way, and what it has noted."""

    server: str
    servers: Mapping[str, McpServer]
    log: Path
    hears_leaving: bool = True
    """The SDK's server of today notices no caller that leaves while it makes an answer of plain JSON."""

    def calling(self, **options: Any) -> contextlib.AbstractAsyncContextManager[Calling]:
        return calling(mcp_servers=self.servers, **options)

    def call(self, tool: str | None, arguments: Any = None, **options: Any) -> McpToolWork:
        return work(self.server, tool, arguments, **options)

    async def noted(self, what: str) -> None:
        async with asyncio.timeout(10):
            while not self.log.exists() or what not in self.log.read_text():  # noqa: ASYNC110  # another process
                await asyncio.sleep(0.01)


def work(
    server: str,
    tool: str | None,
    arguments: Any = None,
    headers: Mapping[str, Any] | None = None,
    auth: tuple[str, ...] | None = None,
    connect_timeout: float = 5.0,
) -> McpToolWork:
    return McpToolWork(
        service="tools",
        server=template(server),
        tool=tool,
        arguments=template(arguments) if arguments is not None else None,
        headers=tuple((name, template(value)) for name, value in (headers or {}).items()),
        auth=Auth(auth[0], tuple(map(template, auth[1:]))) if auth else None,  # pyright: ignore[reportArgumentType]
        connect_timeout=connect_timeout,
    )


@contextlib.asynccontextmanager
async def http_server(
    log: Path, *options: str, port: int = 0
) -> AsyncGenerator[tuple[str, asyncio.subprocess.Process]]:
    process = await asyncio.create_subprocess_exec(
        *mortal(sys.executable, HERE / "tool_server.py", "http", str(port), *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "CALL_LOG": str(log)},
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(await process.stdout.readline())}/mcp", process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def stdio_server(log: Path, **env: str) -> McpServer:
    arguments = (str(HERE / "tool_server.py"), "stdio")
    return McpServer("tools", sys.executable, arguments, {"CALL_LOG": str(log), **env})


class Servers:
    """HTTP servers that tests share: one of each sort, started at first use and again when a test has ended it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, tuple[subprocess.Popen[bytes], Place]] = {}

    def place(self, sort: str) -> Place:
        process, place = self._running.get(sort) or self._start(sort)
        if process.poll() is not None:
            process, place = self._start(sort)
        place.log.write_text("")
        return place

    def _start(self, sort: str) -> tuple[subprocess.Popen[bytes], Place]:
        log = self._folder / sort.replace(" ", "-")
        process = subprocess.Popen(
            mortal(sys.executable, HERE / "tool_server.py", "http", "0", *sort.split()[1:]),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "CALL_LOG": str(log)},
        )
        assert process.stdout is not None
        port = int(process.stdout.readline())
        process.stdout.close()
        self._running[sort] = process, Place(f"http://127.0.0.1:{port}/mcp", {}, log, sort != "http")
        return self._running[sort]

    def end(self) -> None:
        for process, _ in self._running.values():
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Generator[Servers]:
    servers = Servers(tmp_path_factory.mktemp("servers"))
    yield servers
    servers.end()


@pytest.fixture(params=["http", "http sse", "http legacy", "http legacy sse", "stdio"])
def place(request: pytest.FixtureRequest, tmp_path: Path, servers: Servers) -> Place:
    if request.param == "stdio":
        return Place("tools", {"tools": stdio_server(tmp_path / "calls")}, tmp_path / "calls")
    return servers.place(request.param)


# What a tool gives


async def test_tools_are_called_and_their_answers_are_values(place: Place) -> None:
    async with place.calling() as c:
        assert await c.completed(place.call("echo", {"text": "hällo 😀"})) == "hällo 😀"
        assert await c.completed(place.call("point", {"x": "${input.x}", "y": 2}), values={"input": {"x": 1}}) == {
            "x": 1,
            "y": 2,
        }
        assert await c.completed(place.call("several")) == "one\n[left out: image/png, 12 bytes]\ntwo"
        tools = await c.completed(place.call(None))
        assert {"name": "echo", "description": "Says it again."}.items() <= tools[0].items()
        assert tools[0]["inputSchema"]["properties"]["text"]["type"] == "string"


async def test_a_call_carries_its_idempotency_key(place: Place) -> None:
    async with place.calling() as c:
        told = await c.completed(place.call("told"), key="key-7")
    assert told["key"] == "key-7"


async def test_what_a_tool_says_has_failed_is_definite_and_so_is_what_the_server_refuses(place: Place) -> None:
    async with place.calling() as c:
        error = await c.failed(place.call("fail"))
        assert (error.code, error.in_doubt, error.retryable) == ("tool_error", False, False)
        assert "the printer is on fire" in error.message
        assert error.request == {"service": "tools", "tool": "fail", "arguments": {}}
        for broken in (place.call("echo"), place.call("nowhere")):
            error = await c.failed(broken)
            assert error.code in {"tool_error", "mcp_error"}
            assert not error.in_doubt
        assert await c.completed(place.call("echo", {"text": "on"})) == "on"


async def test_what_is_too_large_to_keep_is_in_doubt_as_the_tool_was_called(place: Place) -> None:
    async with place.calling(max_answer_bytes=2000) as c:
        for size in (3000, 500_000):
            error = await c.failed(place.call("large", {"size": size}))
            assert error.in_doubt
            assert error.code in {"answer_too_large", "answer_unreadable"}
            assert not error.retryable
        assert await c.completed(place.call("echo", {"text": "on"})) == "on"


async def test_an_answer_that_breaks_its_own_schema_was_given_all_the_same(place: Place) -> None:
    async with place.calling() as c:
        assert await c.completed(place.call("liar")) == {"x": "not a number"}


async def test_a_timeout_is_in_doubt_and_the_session_goes_on(place: Place) -> None:
    async with place.calling() as c:
        first = await c.completed(place.call("told"))
        error = await c.failed(place.call("slow", {"seconds": 30}), timeout=0.5)
        assert (error.code, error.in_doubt) == ("timeout", True)
        assert (await c.completed(place.call("told")))["pid"] == first["pid"]


async def test_a_cancelled_attempt_cancels_its_call_and_leaves_the_others_alone(place: Place) -> None:
    async with place.calling() as c:
        await c.completed(place.call("echo", {"text": "open"}))
        others = [asyncio.create_task(c.completed(place.call("slow", {"seconds": 1.0}))) for _ in range(3)]
        task = asyncio.create_task(c.attempt(place.call("slow", {"seconds": 30})))
        await place.noted("slow began\nslow began\nslow began\nslow began")
        task.cancel()
        await asyncio.wait([task])
        if place.hears_leaving:
            await place.noted("slow cancelled")
        assert await asyncio.gather(*others) == [{"result": "slept"}] * 3


async def test_a_server_that_vanishes_in_the_middle_of_a_call_leaves_it_in_doubt(place: Place) -> None:
    async with place.calling() as c:
        other = asyncio.create_task(c.failed(place.call("slow", {"seconds": 30})))
        await place.noted("slow began")
        error = await c.failed(place.call("vanish"))
        assert (error.code, error.in_doubt, error.retryable) == ("reset", True, True)
        error = await other
        assert (error.code, error.in_doubt, error.retryable) == ("reset", True, True)
        after = await c.attempt(place.call("echo", {"text": "back"}))
        if isinstance(after, Failed) and after.error.code == "reset":  # it met the dying one; never again
            assert after.error.in_doubt
            after = await c.attempt(place.call("echo", {"text": "back"}))
        if "tools" in place.servers:
            assert not isinstance(after, Failed)
        else:
            assert isinstance(after, Failed)
            assert (after.error.code, after.error.in_doubt, after.error.retryable) == ("connect", False, True)


# Over HTTP


@pytest.mark.parametrize("options", [(), ("legacy",), ("legacy", "sse")])
async def test_a_session_is_opened_anew_when_the_server_was_restarted(options: tuple[str, ...], tmp_path: Path) -> None:
    async with calling() as c:
        async with http_server(tmp_path / "calls", *options) as (url, _):
            first = await c.completed(work(url, "told"))
        port = int(url.split(":")[2].split("/")[0])
        error = await c.failed(work(url, "told"))
        assert (error.code, error.in_doubt, error.retryable) == ("connect", False, True)
        async with http_server(tmp_path / "calls", *options, port=port):
            second = await c.completed(work(url, "told"))
    assert first["pid"] != second["pid"]


async def test_credentials_are_sent_with_every_call_and_never_shown(tmp_path: Path) -> None:
    options: dict[str, Any] = {"headers": {"X-Tenant": "${input.tenant}"}, "auth": ("bearer", "${secrets.TOKEN}")}
    async with http_server(tmp_path / "calls") as (url, _), calling(secrets={"TOKEN": "s3cr3t-value"}) as c:
        call = work(url, "told", **options)
        for tenant in ("a", "b"):
            told = await c.completed(call, values={"input": {"tenant": tenant}})
            assert (told["authorization"], told["tenant"]) == ("Bearer [secret TOKEN]", tenant)
        c.secrets["TOKEN"] = "rotated-value"
        told = await c.completed(call, values={"input": {"tenant": "a"}})
        assert told["authorization"] == "Bearer [secret TOKEN]"


async def test_a_secret_in_the_arguments_is_sent_and_neither_recorded_nor_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = {"text": "it is ${secrets.TOKEN}"}
    async with (
        http_server(tmp_path / "calls") as (url, _),
        calling(secrets={"TOKEN": "s3cr3t-value"}, mcp_servers={"old": old_server()}) as c,
    ):
        assert await c.completed(work(url, "echo", secret)) == "it is [secret TOKEN]"
        assert await c.completed(work("old", "chatters", secret)) == "done"
        error = await c.failed(work(url, "fail", secret))
        assert "s3cr3t" not in str(error)
    assert "echo it is s3cr3t-value" in (tmp_path / "calls").read_text()
    assert "s3cr3t" not in caplog.text


async def test_a_redirect_to_elsewhere_is_not_followed_and_nothing_was_called() -> None:
    async with misbehaving() as service, calling() as c:
        error = await c.failed(work(f"{service.url}/redirect/307?to=http://169.254.169.254/mcp", "echo"))
    assert (error.code, error.in_doubt) == ("connect", False)
    assert "not followed" in error.message


async def test_a_server_of_the_settings_may_be_a_url_with_headers(tmp_path: Path) -> None:
    async with http_server(tmp_path / "calls") as (url, _):
        known = McpServer("desk", url=url, headers={"Authorization": "Bearer from-the-file", "X-Tenant": "file"})
        async with calling(mcp_servers={"desk": known}) as c:
            told = await c.completed(work("desk", "told", headers={"x-tenant": "own"}))
    assert (told["authorization"], told["tenant"]) == ("Bearer [secret Authorization]", "own")


async def test_addresses_that_no_step_may_speak_to_are_refused_to_tools_too(tmp_path: Path) -> None:
    async with http_server(tmp_path / "calls") as (url, _):
        async with calling(http_allowed_hosts=("api.example.com",)) as c:
            error = await c.failed(work(url, "echo", {"text": "x"}))
            assert (error.code, error.in_doubt, error.retryable) == ("blocked_address", False, False)
        async with calling() as c:
            error = await c.failed(work("http://169.254.169.254/mcp", "echo", {"text": "x"}))
            assert (error.code, error.in_doubt) == ("blocked_address", False)
        assert not (tmp_path / "calls").exists()


async def test_who_cannot_be_reached_was_never_asked() -> None:
    async with calling() as c:
        error = await c.failed(work("http://127.0.0.1:1/mcp", "echo"))
        assert (error.code, error.in_doubt, error.retryable) == ("connect", False, True)
        error = await c.failed(work("http://user:pass@127.0.0.1:1/mcp", "echo"))
        assert (error.code, error.in_doubt) == ("invalid_request", False)


@pytest.mark.parametrize(
    ("path", "code", "retryable"),
    [
        (body_path(b"who are you", "text/plain", 401), "http_401", False),
        (body_path(b"later", "text/plain", 503), "http_503", True),
        (body_path(b"slow down", "text/plain", 429), "http_429", True),
        (body_path(b"<html>", "text/html", 200), "answer_unreadable", False),
        (body_path(b"{", "application/json", 200), "answer_unreadable", False),
    ],
)
async def test_what_is_no_mcp_server_is_told_as_what_it_answered(path: str, code: str, retryable: bool) -> None:
    async with misbehaving() as service, calling() as c:
        error = await c.failed(work(f"{service.url}{path}", "echo"))
    assert (error.code, error.in_doubt, error.retryable) == (code, False, retryable)


# Over the pipes of a process


async def test_a_process_sees_little_of_the_environment_and_its_words_go_to_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mcp_workflows")
    monkeypatch.setenv("MCP_WORKFLOWS_SECRET_X", "s3cr3t-value")
    async with calling(mcp_servers={"tools": stdio_server(tmp_path / "calls", API_TOKEN="t0ken-value")}) as c:
        told = await c.completed(work("tools", "told"))
        assert "MCP_WORKFLOWS_SECRET_X" not in told["environment"]
        assert "API_TOKEN" in told["environment"]
        assert await c.completed(work("tools", "echo", {"text": "I hold t0ken-value"})) == "I hold [secret API_TOKEN]"
    assert "MCP server tools: started" in caplog.text


async def test_a_process_is_started_once_and_ended_with_the_server(tmp_path: Path) -> None:
    async with calling(mcp_servers={"tools": stdio_server(tmp_path / "calls")}) as c:
        pids = {told["pid"] for told in await asyncio.gather(*(c.completed(work("tools", "told")) for _ in range(5)))}
        assert len(pids) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(pids.pop(), 0)


async def test_a_process_that_died_while_idle_is_started_anew(tmp_path: Path) -> None:
    async with calling(mcp_servers={"old": old_server()}) as c:
        pid = int(await c.completed(work("old", "pid")))
        os.kill(pid, signal.SIGKILL)
        outcomes = [await c.attempt(work("old", "pid")) for _ in range(2)]
        # The first may meet the dying one; what it asked is then in doubt, and never taken for done.
        assert not isinstance(outcomes[1], Failed)
        if isinstance(outcomes[0], Failed):
            assert (outcomes[0].error.code, outcomes[0].error.in_doubt) == ("reset", True)


def old_server() -> McpServer:
    return McpServer("old", sys.executable, (str(HERE / "old_server.py"),))


async def test_servers_from_before_discovery_are_spoken_to_and_all_pages_are_listed() -> None:
    async with calling(mcp_servers={"old": old_server()}) as c:
        tools = await c.completed(work("old", None))
        assert [tool["name"] for tool in tools] == ["tool0", "tool1", "tool2", "tool3"]
        error = await c.failed(work("old", "nowhere"))
        assert (error.code, error.in_doubt, error.details) == ("mcp_error", False, {"code": -32601})
        error = await c.failed(work("old", "broken"))
        assert (error.code, error.in_doubt, error.details) == ("mcp_error", True, {"code": -32603})
        error = await c.failed(work("old", "garbage"))
        assert (error.code, error.in_doubt) == ("answer_unreadable", True)
        assert await c.completed(work("old", "pid"))


@pytest.mark.parametrize(
    ("command", "arguments"), [("/no/such/program", ()), (sys.executable, ("-c", "print('no protocol')"))]
)
async def test_a_command_that_is_no_server_was_never_asked(command: str, arguments: tuple[str, ...]) -> None:
    async with calling(mcp_servers={"odd": McpServer("odd", command, arguments)}) as c:
        error = await c.failed(work("odd", "echo"))
        assert (error.code, error.in_doubt, error.retryable) == ("connect", False, True)


async def test_a_server_that_is_slow_to_open_takes_the_attempts_time_and_nothing_is_in_doubt() -> None:
    sleepy = McpServer("sleepy", sys.executable, ("-c", "import time; time.sleep(60)"))
    async with calling(mcp_servers={"sleepy": sleepy}) as c:
        error = await c.failed(work("sleepy", "echo"), timeout=0.3)
        assert (error.code, error.in_doubt) == ("timeout", False)


async def test_an_idle_session_is_closed_and_opened_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "IDLE", 0.2)
    async with calling(mcp_servers={"old": old_server()}) as c:
        first = int(await c.completed(work("old", "pid")))
        async with asyncio.timeout(15):
            while _alive(first):  # noqa: ASYNC110  # another process
                await asyncio.sleep(0.05)
        assert int(await c.completed(work("old", "pid"))) != first


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_server_that_is_not_in_the_settings_is_told_with_a_remedy() -> None:
    async with calling(mcp_servers={"old": old_server()}) as c:
        error = await c.failed(work("new", "echo"))
    assert (error.code, error.in_doubt) == ("settings", False)
    assert 'MCP server "new" is not known here: MCP_WORKFLOWS_MCP_SERVERS has old' in error.message


async def test_a_failure_shows_the_arguments_redacted_and_cut(tmp_path: Path) -> None:
    servers = {"tools": stdio_server(tmp_path / "calls")}
    async with calling(mcp_servers=servers, secrets={"TOKEN": "s3cr3t-value"}) as c:
        error = await c.failed(work("tools", "point", {"x": "is s3cr3t-value", "y": ["y" * 2000] * 500}))
        assert error.request["tool"] == "point"
        assert error.request["arguments"]["x"] == "is [secret TOKEN]"
        assert len(str(error.request)) < 5000
    async with calling(mcp_servers={"gone": McpServer("gone", "no-such-command", (), {})}) as c:
        assert (await c.failed(work("gone", None))).request is None  # of the list of tools there is nothing to correct


async def test_a_correction_is_merged_into_the_arguments(tmp_path: Path) -> None:
    async with calling(mcp_servers={"tools": stdio_server(tmp_path / "calls")}) as c:
        call = work("tools", "point", {"x": 1, "y": 2})
        assert await c.completed(call, correction={"arguments": {"x": 5}}) == {"x": 5, "y": 2}
