"""Stdio: a real process of the command line, as a desktop client starts it."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp_types import ElicitResult

from tests.mcp_server.place import refused, told
from tests.mcp_server.task_client import TaskClient, TasksExtension
from tests.mcp_server.workflows import ASK_FIRST, LARGE, SLOW, STRICT

pytestmark = pytest.mark.anyio


def command(folder: Path) -> list[str]:
    definitions = folder / "definitions"
    definitions.mkdir(exist_ok=True)
    for name, text in {"register": STRICT, "slow": SLOW, "large": LARGE, "ask": ASK_FIRST}.items():
        (definitions / f"{name}.yaml").write_text(text, "utf-8")
    return ["-m", "mcp_workflows", "serve", str(definitions), "--database", f"sqlite:///{folder / 'runs.db'}"]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_starts_the_server_lists_starts_and_follows(tmp_path: Path, mode: Any) -> None:
    parameters = StdioServerParameters(command=sys.executable, args=command(tmp_path))
    async with Client(parameters, mode=mode) as client:
        assert client.instructions is not None
        assert "get_run" in client.instructions
        tools = [tool.name for tool in (await client.list_tools()).tools]
        assert tools[:4] == ["ask_first", "install_all_from_inventory", "register", "slow_one"]
        done = told(await client.call_tool("register", {"email": "a@b.org"}))
        assert done["result"] == {"seen": "a@b.org"}
        waiting = told(await client.call_tool("slow_one", {}))
        run = told(await client.call_tool("get_run", {"run_id": waiting["run_id"], "wait_seconds": 1}))
        assert run["status"] == "waiting"
        assert refused(await client.call_tool("registr", {})).endswith('Did you mean "register"?')
        call = asyncio.create_task(client.call_tool("get_run", {"run_id": run["run_id"], "wait_seconds": 50}))
        await client.list_tools()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert len(told(await client.call_tool("list_runs", {}))["runs"]) == 1


async def agreeing(context: Any, params: Any) -> ElicitResult:
    return ElicitResult(action="accept", content={"decision": "approved"})


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_person_at_the_client_is_asked(tmp_path: Path, mode: Any) -> None:
    parameters = StdioServerParameters(command=sys.executable, args=command(tmp_path))
    async with Client(parameters, mode=mode, elicitation_callback=agreeing) as client:
        assert told(await client.call_tool("ask_first", {}))["result"] == "elicitation"


async def test_a_task_is_asked_for_again_at_the_server_that_is_started_next(tmp_path: Path) -> None:
    parameters = StdioServerParameters(command=sys.executable, args=command(tmp_path))
    async with Client(parameters, extensions=[TasksExtension()], elicitation_callback=agreeing) as client:
        task_id = (await TaskClient(client, TasksExtension()).call("ask_first"))["taskId"]
    extension = TasksExtension()
    async with Client(parameters, extensions=[extension], elicitation_callback=agreeing) as client:
        tasks = TaskClient(client, extension)
        async with tasks.listening(task_id):
            asked = await tasks.hears("input_required")
            await tasks.update(task_id, **{key: {"decision": "approved"} for key in asked["inputRequests"]})
            done = await tasks.hears("completed")
        assert done["ttlMs"] is None, "null is said, and not left out"
        assert done["result"]["structuredContent"] == {"run_id": task_id, "status": "completed", "result": "task"}


class Wire:
    """The process with its bare pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin, self._stdout = process.stdin, process.stdout

    def send(self, line: bytes) -> None:
        self._stdin.write(line + b"\n")

    def request(self, number: int, method: str, **params: Any) -> None:
        self.send(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode())

    async def receive(self) -> dict[str, Any]:
        async with asyncio.timeout(30):
            return json.loads(await self._stdout.readline())

    async def open(self) -> None:
        about = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
        self.request(0, "initialize", **about)
        assert (await self.receive())["result"]["serverInfo"]["name"] == "mcp-workflows"
        self.send(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')

    async def ended(self) -> int:
        async with asyncio.timeout(2):
            return await self.process.wait()

    def close(self) -> None:
        self._stdin.close()


@asynccontextmanager
async def wire(folder: Path) -> AsyncGenerator[Wire]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command(folder), stdin=pipe, stdout=pipe, stderr=pipe, limit=1 << 24
    )
    assert process.stderr is not None
    drained = asyncio.create_task(process.stderr.read())
    try:
        yield Wire(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await drained


def call(number: int, arguments: bytes) -> bytes:
    head = b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"register","arguments":' % number
    return head + arguments + b"}}"


async def test_what_cannot_be_read_is_answered_and_the_server_goes_on(tmp_path: Path) -> None:
    async with wire(tmp_path) as connection:
        await connection.open()
        connection.send(call(1, b'{"a":' * 300 + b"1" + b"}" * 300))
        connection.send(call(2, b'{"email":"\\ud800"}'))
        for number in (1, 2):
            answer = await connection.receive()
            assert answer["id"] == number
            assert answer["result"]["isError"]
            assert answer["result"]["content"][0]["text"].startswith(
                "Arguments refused, nothing was changed. The message cannot be read: it is nested more than 200 levels"
            )
        for line in (b"no json", b"[" * 100_000, b"[1,2]", b'{"jsonrpc":"2.0","id":3}', b"\xff\xfe", b"x" * (17 << 20)):
            connection.send(line)
            answer = await connection.receive()
            assert answer["id"] is None
            assert answer["error"]["message"]
        connection.send(b"")
        connection.request(4, "tools/call", name="register", arguments={"email": "a@b.org"})
        answer = await connection.receive()
        assert (answer["id"], answer["result"]["structuredContent"]["status"]) == (4, "completed")
        connection.request(5, "tools/call", name="register", arguments={"email": "x" * (2 << 20)})
        answer = await connection.receive()
        assert "at most 1,048,576" in answer["result"]["content"][0]["text"]


async def test_the_server_ends_when_its_client_closes_stdin(tmp_path: Path) -> None:
    async with wire(tmp_path) as connection:
        await connection.open()
        connection.request(1, "tools/call", name="slow_one", arguments={})
        run_id = (await connection.receive())["result"]["structuredContent"]["run_id"]
        connection.request(2, "tools/call", name="get_run", arguments={"run_id": run_id, "wait_seconds": 50})
        connection.request(3, "tools/list")
        assert (await connection.receive())["id"] == 3
        connection.close()
        assert await connection.ended() == 0


async def test_the_server_ends_on_a_signal_though_stdin_stays_open_and_answers_first(tmp_path: Path) -> None:
    async with wire(tmp_path) as connection:
        await connection.open()
        connection.request(1, "tools/call", name="slow_one", arguments={})
        run_id = (await connection.receive())["result"]["structuredContent"]["run_id"]
        connection.request(2, "tools/call", name="get_run", arguments={"run_id": run_id, "wait_seconds": 50})
        connection.request(3, "tools/list")
        assert (await connection.receive())["id"] == 3
        connection.process.send_signal(signal.SIGTERM)
        answer = await connection.receive()
        assert answer["id"] == 2
        assert answer["result"]["structuredContent"]["next"] == (
            "This server ends with its client; the run is safe, and goes on when one is up again. Call get_run then."
        )
        assert await connection.ended() == 0


async def test_a_client_that_reads_nothing_cannot_keep_the_server_alive(tmp_path: Path) -> None:
    async with wire(tmp_path) as connection:
        await connection.open()
        for number in range(1, 500):
            connection.request(number, "tools/list")
        connection.process.send_signal(signal.SIGTERM)
        assert await connection.ended() == 0


async def test_a_new_server_takes_the_run_of_the_one_before(tmp_path: Path) -> None:
    parameters = StdioServerParameters(command=sys.executable, args=command(tmp_path))
    async with Client(parameters) as client:
        run = told(await client.call_tool("slow_one", {"_idempotency_key": "k1"}))
    async with Client(parameters) as client:
        again = told(await client.call_tool("slow_one", {"_idempotency_key": "k1"}))
        assert (again["run_id"], again["joined"]) == (run["run_id"], True)
        cancelled = told(await client.call_tool("cancel_run", {"run_id": run["run_id"]}))
        assert cancelled["status"] == "cancelled"
