"""Calls that their clients give up: the run is durable or it is not there, and whatever is there goes on to its end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mcp_workflows.runtime.views import RunQuery
from mcp_workflows.samples.faults import Fault
from tests.mcp_server.place import SAGA, TRANSPORTS, edited, place, told

pytestmark = pytest.mark.anyio

WAITING = edited(SAGA, ("\nsteps:", "\nmcp: {wait: 20s}\nsteps:"))


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_calls_given_up_at_any_moment_leave_whole_runs_or_none(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"saga": WAITING}) as here, here.client(transport) as client:
        for number in range(20):
            order = {"order_id": f"o{number}", "amount": 1, "_idempotency_key": f"k{number}"}
            call = asyncio.create_task(client.call_tool("saga_order_fulfillment", order))
            for _ in range(number):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)

        for number in range(20):
            order = {"order_id": f"o{number}", "amount": 1, "_idempotency_key": f"k{number}"}
            run = told(await client.call_tool("saga_order_fulfillment", order))
            assert run["status"] == "completed", run
        page = await here.app.runs.list(RunQuery(status="any", limit=50))
        assert len(page.runs) == 20
        assert here.times_called("/inventory/reserve") == 20


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_run_goes_on_when_nobody_waits_for_it(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"saga": WAITING}) as here, here.client(transport) as client:
        here.world.faults.add(Fault("shop", "POST", "/inventory/reserve", "slow", seconds=0.3))
        call = asyncio.create_task(client.call_tool("saga_order_fulfillment", {"order_id": "o1", "amount": 1}))
        await here.called("/inventory/reserve")
        (run,) = told(await client.call_tool("list_runs", {}))["runs"]
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await here.called("/shipping/book")
        done = told(await client.call_tool("get_run", {"run_id": run["run_id"], "wait_seconds": 20}))
        assert done["status"] == "completed"


async def test_a_client_that_drops_its_connection_changes_nothing(tmp_path: Path) -> None:
    async with place(tmp_path, {"saga": WAITING}) as here, here.listening() as url:
        here.world.faults.add(Fault("shop", "POST", "/inventory/reserve", "slow", seconds=0.3))
        host, port = url.removeprefix("http://").removesuffix("/mcp").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        body = (
            '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"saga_order_fulfillment",'
            '"arguments":{"order_id":"o1","amount":1},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",'
            '"io.modelcontextprotocol/clientCapabilities":{}}}}'
        )
        head = (
            f"POST /mcp HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
            "Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\n"
            f"Mcp-Method: tools/call\r\nMcp-Name: saga_order_fulfillment\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write((head + body).encode())
        await writer.drain()
        await here.called("/inventory/reserve")
        writer.transport.abort()
        del reader
        await here.called("/shipping/book")
        (run,) = (await here.app.runs.list(RunQuery(status="any"))).runs
        done = await here.app.runs.wait(run.run_id, actor="local", seconds=20)
        assert done.status == "completed"


async def test_waiting_calls_are_answered_when_the_service_stops(tmp_path: Path) -> None:
    async with place(tmp_path, {"saga": WAITING}) as here:
        here.world.faults.add(Fault("shop", "POST", "/inventory/reserve", "slow", seconds=5))
        async with here.client("in process, 2026") as client:
            call = asyncio.create_task(client.call_tool("saga_order_fulfillment", {"order_id": "o1", "amount": 1}))
            await here.called("/inventory/reserve")
            async with asyncio.timeout(1):
                await here.server.stop()
                run = told(await call)
        assert run["status"] == "running"
        assert run["next"] == ("The service is stopping; the run is safe and goes on. Call get_run in a few seconds.")
