"""A task outlives the server that made it: killed, started again, or asked for at another server of the same database."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp_types import CallToolResult, ElicitResult, InputRequiredResult

from tests.mcp_server.place import told
from tests.mcp_server.task_client import TaskClient, TasksExtension
from tests.recovery.server import ServerProcess, place
from tests.services.counting import Rule, counting_service

pytestmark = pytest.mark.anyio

ORDER = """
name: order
description: Reserves, asks a person, and ships.
vars: {SERVICE: "http://127.0.0.1:1"}
steps:
  - id: reserve
    http: {method: POST, url: "${vars.SERVICE}/reserve"}
    compensate:
      - http: {method: POST, url: "${vars.SERVICE}/release"}
  - id: agree
    approval: {message: Ship it?}
  - id: ship
    http: {method: POST, url: "${vars.SERVICE}/ship"}
output: {agreed: "${steps.agree.output.decision}", via: "${steps.agree.output.via}"}
"""


async def nobody(context: Any, params: Any) -> ElicitResult:
    raise AssertionError((context, params))


@asynccontextmanager
async def tasks(server: ServerProcess) -> AsyncGenerator[TaskClient]:
    """A connection of its own."""
    extension = TasksExtension()
    async with Client(server.url, extensions=[extension], elicitation_callback=nobody) as client:
        yield TaskClient(client, extension)


async def test_a_task_is_there_after_each_kill_and_its_answer_and_its_result_are_too(tmp_path: Path) -> None:
    async with counting_service() as service, place(tmp_path, SERVICE=service.url) as here:
        here.define("order", ORDER)
        service.rule("/reserve", Rule(hold=True))
        server = await here.serve()
        async with tasks(server) as client:
            created = await client.call("order")
        task_id = created["taskId"]
        await server.kill()

        server = await here.serve()
        await service.lift("/reserve")
        async with tasks(server) as client:
            asked = await client.until(task_id, "input_required")
            assert (asked["createdAt"], list(asked["inputRequests"])) == (created["createdAt"], ["agree#1"])
        await server.kill()

        server, other = await here.serve(), await here.serve()
        async with tasks(other) as client:
            assert list((await client.get(task_id))["inputRequests"]) == ["agree#1"]
            service.rule("/ship", Rule(hold=True))
            await client.update(task_id, **{"agree#1": {"decision": "approved"}})
        await service.seen(lambda: len(service.made("/ship")) == 1)
        await server.kill()
        await other.kill()

        server = await here.serve()
        await service.lift("/ship")
        async with tasks(server) as client:
            await client.update(task_id, **{"agree#1": {"decision": "rejected"}})
            done = await client.until(task_id, "completed")
        await server.kill()
        server = await here.serve()
        async with tasks(server) as client:
            assert await client.get(task_id) == done
        run = told(CallToolResult.model_validate(done["result"]))
        assert run == {"run_id": task_id, "status": "completed", "result": {"agreed": "approved", "via": "task"}}
        assert set(service.keys()) == {f"{task_id}:reserve", f"{task_id}:ship"}


async def test_a_task_that_was_answered_is_told_so_though_the_server_died_at_once(tmp_path: Path) -> None:
    """Killed right after the answer: a task that a client was told of is there, each of many."""
    async with counting_service() as service, place(tmp_path, SERVICE=service.url) as here:
        here.define("order", ORDER.replace("steps:", "mcp: {wait: 0s, join: off}\nsteps:", 1))
        server = await here.serve()
        async with tasks(server) as client:
            task_ids = [(await client.call("order"))["taskId"] for _ in range(20)]
            await server.kill()
        server = await here.serve()
        async with tasks(server) as client:
            for task_id in task_ids:
                await client.until(task_id, "input_required")
            await client.cancel(task_ids[0])
            assert (await client.until(task_ids[0], "cancelled"))["taskId"] == task_ids[0]
        assert len(service.made("/reserve")) >= 20
        assert here.read("SELECT count(*) FROM run") == [(20,)]


async def test_what_a_person_was_asked_is_answered_at_the_server_that_comes_after(tmp_path: Path) -> None:
    async with counting_service() as service, place(tmp_path, SERVICE=service.url) as here:
        here.define("order", ORDER)
        server = await here.serve()
        async with Client(server.url, elicitation_callback=nobody) as client:
            asked = await client.session.call_tool("order", {}, allow_input_required=True)
        assert isinstance(asked, InputRequiredResult)
        await server.kill()
        server = await here.serve()
        async with Client(server.url, elicitation_callback=nobody) as client:
            run = told(
                await client.session.call_tool(
                    "order", {}, request_state=asked.request_state,
                    input_responses={"agree#1": ElicitResult(action="accept", content={"decision": "approved"})},
                )
            )  # fmt: skip
        assert run["result"] == {"agreed": "approved", "via": "elicitation"}
        assert here.read("SELECT count(*) FROM run") == [(1,)]
        assert set(service.keys().values()) == {1}
