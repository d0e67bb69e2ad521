"""Servers on stdio, as desktop clients start them, alone and beside one over HTTP on the same database: real processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests.mcp_server.place import refused, told
from tests.mcp_server.workflows import ASK_FIRST
from tests.recovery.server import Place, ServerProcess, place
from tests.services.scripted import Answer, Scripted, scripted

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

HELD = """
name: held
description: A quick step, one that takes long, and a last one.
vars: {SERVICE: "http://127.0.0.1:1"}
mcp: {wait: 0s, join: "off"}
on_failure: fail
steps:
  - id: first
    timeout: 60s
    http: {method: POST, url: "${vars.SERVICE}/first"}
  - id: long
    timeout: 60s
    http: {method: POST, url: "${vars.SERVICE}/long"}
  - id: last
    timeout: 60s
    http: {method: POST, url: "${vars.SERVICE}/last"}
"""
QUICK = """
name: quick
description: One quick step.
vars: {SERVICE: "http://127.0.0.1:1"}
mcp: {wait: 30s, join: "off"}
steps:
  - http: {method: POST, url: "${vars.SERVICE}/quick"}
"""
NAP = """
name: nap
description: Sleeps until tomorrow.
mcp: {wait: 1s}
steps:
  - wait: 1d
"""
ORDER = """
name: order
description: Orders something and waits to be called.
vars: {SERVICE: "http://127.0.0.1:1"}
mcp: {wait: 0s}
on_failure: fail
steps:
  - id: ordered
    http: {method: POST, url: "${vars.SERVICE}/orders", json: {notify: "${callback_url}"}, callback: true}
output: ${steps.ordered.output}
"""
WORKFLOWS = {"held": HELD, "quick": QUICK, "ask": ASK_FIRST, "nap": NAP, "order": ORDER}
LEASE = 6.0
"""Seconds: short, and yet three looks fit into it on a busy machine."""
NO_ADDRESS = (
    "No server that is up can go on with it: its step ordered waits for a call, and nobody can call this server: serve the "
    "same database with --http too, or set MCP_WORKFLOWS_PUBLIC_URL. Tell the user; it goes on by itself once one can."
)
WITH_CLIENT = "It goes on only while a server is up, and this one ends with its client."


class Service:
    """What the steps call: the long one is answered once it is let go."""

    def __init__(self, scripted: Scripted) -> None:
        self.scripted = scripted
        self._let_go = asyncio.Event()
        for path in ("/first", "/last", "/quick"):
            scripted.on(path, Answer(200, {"ok": True}))
        scripted.on("/orders", Answer(202))
        scripted.act("/long", self._long)

    def let_go(self) -> None:
        self._let_go.set()

    def keys(self, path: str) -> list[str]:
        return [call.headers["idempotency-key"] for call in self.scripted.made(path)]

    async def _long(self, _body: bytes) -> Answer:
        await self._let_go.wait()
        return Answer(200, {"ok": True})


@asynccontextmanager
async def here(folder: Path) -> AsyncGenerator[tuple[Place, Service]]:
    async with scripted() as service, place(folder, SERVICE=service.url) as made:
        for name, text in WORKFLOWS.items():
            made.define(name, text)
        yield made, Service(service)


@asynccontextmanager
async def desktop(at: Place, **settings: str) -> AsyncGenerator[Client]:
    """A client with its server on stdio; the server's end of stdin is closed after the block."""
    given = {"DATABASE_URL": f"sqlite:///{at.database}", **settings}
    given |= {f"VAR_{name}": value for name, value in at.variables.items()}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MCP_WORKFLOWS_")}
    environment |= {f"MCP_WORKFLOWS_{name}": value for name, value in given.items()}
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "mcp_workflows", "serve", str(at.folder / "definitions")],
        env=environment,
    )
    with (at.folder / "stdio.log").open("a") as log:
        async with Client(stdio_client(parameters, errlog=log)) as client:
            yield client


async def beside(client: Client) -> None:
    """Once the client's server knows of the one over HTTP: it then gives people a page."""
    run = told(await client.call_tool("ask_first", {}))
    async with asyncio.timeout(30):
        while "url" not in run["waiting_for"][0]:
            run = told(await client.call_tool("get_run", {"run_id": run["run_id"]}))
    await client.call_tool("cancel_run", {"run_id": run["run_id"]})


async def ended(client: Client, run_id: str) -> dict[str, Any]:
    run = told(await client.call_tool("get_run", {"run_id": run_id, "wait_seconds": 50}))
    assert run["status"] == "completed", run
    return run


async def held(client: Client, service: Service) -> str:
    """A run that is in the middle of its long step."""
    before = len(service.scripted.made("/long"))
    run = told(await client.call_tool("held", {}))
    assert run["status"] == "running", run
    await service.scripted.called("/long", before + 1)
    return run["run_id"]


def made_as_often(service: Service, run_id: str, *, long: int) -> None:
    """Each step was asked for under one key; what was in flight at the end of its server, once more."""
    made = {path: service.keys(path).count(f"{run_id}:{path[1:]}") for path in ("/first", "/long", "/last")}
    assert made == {"/first": 1, "/long": long, "/last": 1}


async def test_on_stdio_a_person_is_sent_to_the_page_of_the_server_over_http_while_it_is_up(tmp_path: Path) -> None:
    async with here(tmp_path) as (at, _):
        http = await at.serve()
        async with desktop(at) as client:
            await beside(client)
            run = told(await client.call_tool("ask_first", {}))
            wait = run["waiting_for"][0]
            assert wait["url"].startswith(f"http://127.0.0.1:{http.port}/a/")
            assert run["next"] == "A person decides: give the user the url, then call get_run with wait_seconds 50."
            async with httpx2.AsyncClient() as person:
                assert (await person.get(wait["url"])).status_code == 200
            answer = {"run_id": run["run_id"], "name": wait["name"], "data": {"decision": "approved"}}
            assert wait["url"] in refused(await client.call_tool("signal_run", answer))
            await http.kill()
            async with asyncio.timeout(30):
                while "command" not in wait:  # not yet known to be dead
                    run = told(await client.call_tool("get_run", {"run_id": run["run_id"]}))
                    wait = run["waiting_for"][0]
            assert run["next"].endswith(WITH_CLIENT)


async def test_alone_on_stdio_a_run_that_waits_says_that_it_depends_on_the_client(tmp_path: Path) -> None:
    async with here(tmp_path) as (at, _):
        async with desktop(at) as client:
            asked = told(await client.call_tool("ask_first", {"_idempotency_key": "k"}))
            assert asked["next"] == (
                f"A person decides: give the user the command, then call get_run with wait_seconds 50. {WITH_CLIENT}"
            )
            asleep = told(await client.call_tool("nap", {"_idempotency_key": "k"}))
            assert asleep["next"].startswith("It goes on by itself at ")
            assert asleep["next"].endswith(f"Call get_run then; nobody has to answer. {WITH_CLIENT}")
        await at.serve()
        async with desktop(at) as client:
            await beside(client)
            for workflow in ("ask_first", "nap"):
                run = told(await client.call_tool(workflow, {"_idempotency_key": "k"}))
                assert run["joined"]
                assert WITH_CLIENT not in run["next"]


async def test_closing_the_client_cuts_nothing_off(tmp_path: Path) -> None:
    async with here(tmp_path) as (at, service):
        http = await at.serve()
        async with desktop(at) as client:
            await beside(client)
            run_id = await held(client, service)
        service.let_go()
        run = await http.call("get_run", run_id=run_id, wait_seconds=50)
        assert run["status"] == "completed"
        made_as_often(service, run_id, long=1)


async def test_closing_the_only_server_leaves_the_run_to_the_next_one(tmp_path: Path) -> None:
    async with here(tmp_path) as (at, service):
        async with desktop(at) as client:
            run_id = await held(client, service)
        async with desktop(at) as client:
            await service.scripted.called("/long", 2)
            service.let_go()
            await ended(client, run_id)
        made_as_often(service, run_id, long=2)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_when_the_server_over_http_ends_the_one_on_stdio_goes_on(
    tmp_path: Path, url: str, how: signal.Signals
) -> None:
    """At once after a graceful stop, and on SQLite, where the kernel says that a process is gone; else after the lease."""
    settings = {"DATABASE_URL": url, "LEASE_SECONDS": "60" if how is signal.SIGTERM else str(LEASE)}
    if url.startswith("sqlite"):
        settings["LEASE_SECONDS"] = "60"
    async with here(tmp_path) as (at, service):
        http = await at.serve(**settings)
        async with desktop(at, **settings) as client:
            await beside(client)
            run_id = await held(client, service)
            await (http.kill() if how is signal.SIGKILL else http.terminate())
            since = time.monotonic()
            quick = told(await client.call_tool("quick", {}))
            assert quick["status"] == "completed"
            await service.scripted.called("/long", 2)
            assert time.monotonic() - since < 30
            service.let_go()
            await ended(client, run_id)
        made_as_often(service, run_id, long=2)


async def test_while_the_server_over_http_is_frozen_the_one_on_stdio_goes_on_and_a_zombie_changes_nothing(
    tmp_path: Path, url: str
) -> None:
    settings = {"DATABASE_URL": url, "LEASE_SECONDS": str(LEASE)}
    async with here(tmp_path) as (at, service):
        http = await at.serve(**settings)
        async with desktop(at, **settings) as client:
            await beside(client)
            run_id = await held(client, service)
            http.freeze()
            quick = told(await client.call_tool("quick", {}))
            assert quick["status"] == "completed"
            await service.scripted.called("/long", 2)  # the lease is over
            service.let_go()
            await ended(client, run_id)
            http.thaw()
            again = await http.call("get_run", run_id=run_id)
            assert again["status"] == "completed"
            await beside(client)  # it has come back, as another node
            assert told(await client.call_tool("quick", {}))["status"] == "completed"
        made_as_often(service, run_id, long=2)
        assert len(set(service.keys("/quick"))) == len(service.keys("/quick")) == 2


async def test_two_clients_and_a_server_over_http_that_is_killed_lose_nothing_and_record_nothing_twice(
    tmp_path: Path,
) -> None:
    async with here(tmp_path) as (at, service):
        http = await at.serve()
        async with desktop(at) as one, desktop(at) as two:
            await beside(one)
            await beside(two)
            starts = [each.call_tool("held", {}) for each in (one, two) * 10]
            run_ids = [told(result)["run_id"] for result in await asyncio.gather(*starts)]
            assert len(set(run_ids)) == 20
            await service.scripted.called("/long", 20)
            await http.kill()
            service.let_go()
            for run_id in run_ids:
                await ended(one, run_id)
            owners = at.read("SELECT count(DISTINCT node_id) FROM node WHERE crashed")
            assert owners == [(1,)]
        for run_id in run_ids:
            assert service.keys("/first").count(f"{run_id}:first") == 1
            assert service.keys("/last").count(f"{run_id}:last") == 1
            assert 1 <= service.keys("/long").count(f"{run_id}:long") <= 2


async def called_back(service: Service, http: ServerProcess) -> None:
    call = (await service.scripted.called("/orders"))[0]
    address: str = json.loads(call.body)["notify"]
    assert address.startswith(f"http://127.0.0.1:{http.port}/callbacks/")
    async with httpx2.AsyncClient() as caller:
        assert (await caller.post(address, json={"arrived": True})).status_code == 202


async def test_a_run_started_on_stdio_is_called_back_by_way_of_the_server_over_http(tmp_path: Path) -> None:
    async with here(tmp_path) as (at, service):
        http = await at.serve()
        async with desktop(at) as client:
            await beside(client)
            run_id = told(await client.call_tool("order", {}))["run_id"]
            await called_back(service, http)
            assert (await ended(client, run_id))["result"] == {"arrived": True}


async def test_alone_on_stdio_a_run_that_waits_to_be_called_waits_for_a_server_over_http(tmp_path: Path) -> None:
    async with here(tmp_path) as (at, service), desktop(at) as client:
        run = told(await client.call_tool("order", {}))
        assert (run["status"], run["next"]) == ("pending", NO_ADDRESS)
        run = told(await client.call_tool("get_run", {"run_id": run["run_id"], "wait_seconds": 2}))
        assert (run["status"], run["next"]) == ("pending", NO_ADDRESS)
        assert service.scripted.calls == []
        another = told(await client.call_tool("order", {"_idempotency_key": "another"}))
        another = told(await client.call_tool("cancel_run", {"run_id": another["run_id"]}))
        assert another["status"] == "cancelled", "that needs nobody to be called"
        http = await at.serve()
        await called_back(service, http)
        assert (await ended(client, run["run_id"]))["result"] == {"arrived": True}
