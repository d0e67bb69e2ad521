"""Listening to resources, in both eras: who follows a run or a workflow is told when it changed, and of nothing foreign."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp.client.subscriptions import ResourceUpdated
from mcp_types import (
    EmptyResult,
    ResourceUpdatedNotification,
    UnsubscribeRequest,
    UnsubscribeRequestParams,
)

from mcp_workflows.app import Role, built_app
from mcp_workflows.mcp_server.subscriptions.announcer import MAX_NAMED
from mcp_workflows.samples.faults import Fault
from tests.mcp_server.following import subscribe
from tests.mcp_server.others import FOREIGN, HIDDEN, run_of_another
from tests.mcp_server.place import LEGACY, MODERN, SAGA, TRANSPORTS, Place, edited, place
from tests.mcp_server.workflows import ASK, STRICT

pytestmark = pytest.mark.anyio

QUICK = edited(SAGA, ("\nsteps:", "\nmcp: {wait: 0s}\nsteps:"))


@dataclass
class Listening:
    """A client that follows some URIs. ``heard`` waits for the next URI of which it is told."""

    client: Client
    heard: Callable[[], Awaitable[str]]

    async def hears(self, *uris: str) -> None:
        """In any order."""
        missing = set(uris)
        async with asyncio.timeout(20):
            while missing:
                missing.discard(await self.heard())


@asynccontextmanager
async def listening(here: Place, transport: str, *uris: Callable[[], str] | str) -> AsyncGenerator[Listening]:
    told_of: asyncio.Queue[str] = asyncio.Queue()

    async def on_message(message: Any) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            told_of.put_nowait(message.params.uri)

    named = [uri if isinstance(uri, str) else uri() for uri in uris]
    async with here.client(transport, message_handler=on_message) as client:
        if transport in LEGACY:
            for uri in named:
                await subscribe(client, uri)
            yield Listening(client, told_of.get)
            return
        async with client.listen(resource_subscriptions=named) as events:
            assert events.honored.resource_subscriptions == named

            async def heard() -> str:
                event = await anext(aiter(events))
                assert isinstance(event, ResourceUpdated)
                return event.uri

            yield Listening(client, heard)


async def unsubscribe(client: Client, uri: str) -> None:
    await client.session.send_request(UnsubscribeRequest(params=UnsubscribeRequestParams(uri=uri)), EmptyResult)


async def start(here: Place, workflow: str, **given: Any) -> str:
    return (await here.app.runs.start(workflow, given, actor="local")).run_id


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_who_follows_a_run_and_its_result_is_told_of_both(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"ask": ASK}) as here:
        run_id = await start(here, "ask")
        async with listening(here, transport, f"run://{run_id}", f"run://{run_id}/result") as ear:
            signalled = asyncio.create_task(
                ear.client.call_tool("signal_run", {"run_id": run_id, "name": "word", "data": {}})
            )
            await ear.hears(f"run://{run_id}", f"run://{run_id}/result")
            assert (await here.app.runs.get(run_id, actor="local")).status == "completed"
            await signalled


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_what_another_process_does_with_the_run_is_told_too(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"saga": QUICK}, max_runs=1) as here:
        here.world.faults.add(Fault("shop", "POST", "/payments/charge", "hold"))
        async with built_app(here.app.settings, role=Role.SERVER) as other, other.moving():
            run = await other.runs.start("saga_order_fulfillment", {"order_id": "o", "amount": 1}, actor="local")
            async with listening(here, transport, f"run://{run.run_id}/result", f"run://{run.run_id}") as ear:
                here.world.lift_faults()
                await ear.hears(f"run://{run.run_id}", f"run://{run.run_id}/result")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_who_follows_a_workflow_is_told_of_its_new_version(tmp_path: Path, transport: str) -> None:
    async with (
        place(tmp_path, {"register": STRICT, "ask": ASK}) as here,
        listening(here, transport, "workflow://register") as ear,
    ):
        here.define("ask", ASK.replace("a word", "some word"))
        here.define("register", STRICT.replace("Takes what", "Takes all that"))
        await ear.hears("workflow://register")
        assert "Takes all that" in str(await ear.client.read_resource("workflow://register"))


@pytest.mark.parametrize("transport", MODERN)
async def test_a_stream_acknowledges_own_resources_and_no_others(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"register": STRICT, "x": HIDDEN}) as here, here.client(transport) as client:
        own = await start(here, "register", email="a@b.org")
        foreign = await run_of_another(here)
        asked = [f"run://{foreign}", f"run://{FOREIGN}", f"run://{own}", "workflow://internal", "workflow://no", "x:y"]
        async with client.listen(resource_subscriptions=asked) as events:
            assert events.honored.resource_subscriptions == [f"run://{own}"]
        async with client.listen(tools_list_changed=True, resource_subscriptions=asked[:2]) as events:
            assert events.honored.resource_subscriptions is None


@pytest.mark.parametrize("transport", LEGACY)
async def test_a_foreign_resource_cannot_be_subscribed_to_and_unsubscribing_ends_it(
    tmp_path: Path, transport: str
) -> None:
    async with place(tmp_path, {"register": STRICT}) as here, here.client(transport) as client:
        assert client.server_capabilities.resources is not None
        assert client.server_capabilities.resources.subscribe
        assert client.server_capabilities.resources.list_changed
        foreign = await run_of_another(here)
        said: list[str] = []
        for run_id in (foreign, FOREIGN):
            with pytest.raises(MCPError) as refused:
                await subscribe(client, f"run://{run_id}")
            assert refused.value.error.code == -32002
            said.append(refused.value.error.message.replace(run_id, "X"))
        assert said == ["No resource run://X that you may see."] * 2
        await subscribe(client, "workflow://register")
        await unsubscribe(client, "workflow://register")
        await unsubscribe(client, f"run://{FOREIGN}")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_one_client_follows_a_bounded_number_of_things(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"register": STRICT}) as here:
        ids = [await start(here, "register", email=f"a{number}@b.org") for number in range(MAX_NAMED + 1)]
        uris = [f"run://{one}" for one in ids]
        async with here.client(transport) as client:
            if transport in MODERN:
                async with client.listen(resource_subscriptions=uris) as events:
                    assert events.honored.resource_subscriptions == uris[:MAX_NAMED]
                return
            for uri in uris[:MAX_NAMED]:
                await subscribe(client, uri)
            with pytest.raises(MCPError, match=f"{MAX_NAMED} resources already"):
                await subscribe(client, uris[-1])


async def test_nothing_is_followed_any_more_once_the_clients_are_gone(tmp_path: Path) -> None:
    async with place(tmp_path, {"ask": ASK}) as here:
        run_id = await start(here, "ask")
        for transport in TRANSPORTS:
            async with listening(here, transport, f"run://{run_id}", "workflow://ask"):
                assert here.server.following == 2
            assert here.server.following == 0
