"""While a server runs its files change, and while a call waits its run moves: clients are told of both."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from mcp.client.subscriptions import ToolsListChanged
from mcp_types import ToolListChangedNotification

from mcp_workflows.samples.faults import Fault
from tests.mcp_server.place import LEGACY, MODERN, SAGA, TRANSPORTS, edited, place, told
from tests.mcp_server.workflows import STRICT

pytestmark = pytest.mark.anyio

SECOND = STRICT.replace("name: register", "name: register_again")


@pytest.mark.parametrize("transport", MODERN)
async def test_a_listening_client_is_told_that_the_tools_changed(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"register": STRICT}) as here, here.client(transport) as client:
        async with client.listen(tools_list_changed=True, resource_subscriptions=["run://r_1"]) as events:
            assert events.honored.tools_list_changed
            assert not events.honored.resource_subscriptions
            here.define("second", SECOND)
            async with asyncio.timeout(20):
                assert await anext(aiter(events)) == ToolsListChanged()
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert names == ["register", "register_again", "get_run", "list_runs", "signal_run", "resume_run", "cancel_run"]


@pytest.mark.parametrize("transport", LEGACY)
async def test_a_client_of_the_handshake_era_is_told_unasked(tmp_path: Path, transport: str) -> None:
    told_of = asyncio.Event()

    async def on_message(message: Any) -> None:
        if isinstance(message, ToolListChangedNotification):
            told_of.set()

    async with (
        place(tmp_path, {"register": STRICT}) as here,
        here.client(transport, message_handler=on_message) as client,
    ):
        assert client.server_capabilities.tools is not None
        assert client.server_capabilities.tools.list_changed
        await client.list_tools()
        here.define("second", SECOND)
        async with asyncio.timeout(20):
            await told_of.wait()
        assert len((await client.list_tools()).tools) == 7


async def test_sessions_that_ended_are_not_kept(tmp_path: Path) -> None:
    async with place(tmp_path, {"register": STRICT}) as here, here.listening():
        for _ in range(3):
            async with here.client("in process, 2025") as client:
                await client.list_tools()
                assert here.server.sessions == 1
        assert here.server.sessions == 0


async def test_a_file_that_breaks_leaves_its_last_good_version_serving(tmp_path: Path) -> None:
    async with place(tmp_path, {"register": STRICT}) as here, here.client("in process, 2026") as client:
        reported = asyncio.Event()
        here.app.catalog.on_change(reported.set)
        here.define("register", STRICT.replace("input.email", "input.emial"))
        async with asyncio.timeout(20):
            await reported.wait()
        assert here.app.catalog.problems
        run = told(await client.call_tool("register", {"email": "a@b.org"}))
        assert run["result"] == {"seen": "a@b.org"}


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_waiting_call_tells_how_far_its_run_is(tmp_path: Path, transport: str) -> None:
    waiting = edited(SAGA, ("\nsteps:", "\nmcp: {wait: 20s}\nsteps:"))
    heard: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        assert total is None
        assert message
        heard.append(progress)
        if progress in (1.0, 2.0):  # until that was heard the next step got no answer
            here.world.lift_faults()
        if progress == 1.0:
            here.world.faults.add(Fault("shop", "POST", "/shipping/book", "hold"))

    async with place(tmp_path, {"saga": waiting}) as here, here.client(transport) as client:
        here.world.faults.add(Fault("shop", "POST", "/payments/charge", "hold"))
        order = {"order_id": "o1", "amount": 1}
        run = told(await client.call_tool("saga_order_fulfillment", order, progress_callback=on_progress))
        assert run["status"] == "completed"
        assert heard == sorted(set(heard)), "each is higher than the one before"
        assert {1.0, 2.0} <= set(heard)
