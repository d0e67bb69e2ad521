"""The sample services that take files, take their time, give pages, or are reached over MCP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import httpx2
import pytest
from aiohttp import web
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import TextContent

from mcp_workflows.samples.faults import Fault
from mcp_workflows.samples.server import World, serving

pytestmark = pytest.mark.anyio

PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"


@dataclass(frozen=True, slots=True)
class Here:
    world: World
    urls: dict[str, str]
    client: httpx2.AsyncClient

    async def ask(self, method: str, service: str, path: str, **options: Any) -> httpx2.Response:
        return await self.client.request(method, self.urls[service] + path, **options)

    async def upload(self, title: str, **options: Any) -> httpx2.Response:
        form: dict[str, Any] = {"data": {"title": title}, "files": {"file": ("a.pdf", PDF, "application/pdf")}}
        return await self.ask("POST", "documents", "/documents", **form, **options)

    def effects(self) -> list[str]:
        return [f"{one['service']} {one['path']}" for one in self.world.calls.to_json()["calls"] if one["effect"]]


@asynccontextmanager
async def services() -> AsyncGenerator[Here]:
    async with serving({}) as (world, urls), httpx2.AsyncClient(trust_env=False) as client:
        yield Here(world, urls, client)


async def test_an_uploaded_file_is_kept_as_it_came_and_once_per_key():
    async with services() as here:
        first = await here.upload("March", headers={"Idempotency-Key": "k"})
        again = await here.upload("March", headers={"Idempotency-Key": "k"})
        assert (first.status_code, again.status_code) == (201, 201)
        assert first.json() == again.json()
        kept = first.json()
        assert (kept["title"], kept["filename"], kept["size"]) == ("March", "a.pdf", len(PDF))
        assert kept["sha256"] == sha256(PDF).hexdigest()
        assert here.world.services["documents"].contents["d_1"] == PDF
        assert list(here.world.services["documents"].books["documents"]) == ["d_1"]


async def test_one_file_alone_may_be_the_whole_body_and_json_may_not():
    async with services() as here:
        typed = {"Content-Type": "application/pdf"}
        stored = await here.ask("PUT", "documents", "/archive/a.pdf", content=PDF, headers=typed)
        assert (stored.status_code, stored.json()["size"]) == (201, len(PDF))
        assert here.world.services["documents"].contents["a.pdf"] == PDF
        assert (await here.ask("PUT", "documents", "/archive/b.pdf", json={"a": 1})).status_code == 422
        assert (await here.ask("POST", "documents", "/documents", json={"title": "t"})).status_code == 422


async def test_a_conversion_says_where_to_ask_until_it_is_done():
    async with services() as here:
        await here.upload("March")
        begun = await here.ask("POST", "documents", "/conversions", json={"document": "d_1", "format": "pdfa"})
        assert (begun.status_code, begun.headers["retry-after"]) == (202, "1")
        where = begun.headers["location"]
        early = await here.ask("GET", "documents", f"{where}/result")
        states = [(await here.ask("GET", "documents", where)).json() for _ in range(3)]
        assert early.status_code == 409
        assert [one["state"] for one in states] == ["running", "done", "done"]
        result = await here.ask("GET", "documents", states[1]["result"])
        assert result.headers["content-type"] == "application/pdf"
        assert result.content.startswith(PDF)


async def test_an_encrypted_document_is_not_converted_and_an_unknown_one_not_begun():
    async with services() as here:
        await here.upload("March, encrypted")
        await here.ask("POST", "documents", "/conversions", json={"document": "d_1", "format": "pdfa"})
        states = [(await here.ask("GET", "documents", "/conversions/k_1")).json() for _ in range(2)]
        assert (states[1]["state"], states[1]["reason"]) == ("failed", "the document is encrypted")
        unknown = await here.ask("POST", "documents", "/conversions", json={"document": "d_9", "format": "pdfa"})
        assert unknown.status_code == 404


@asynccontextmanager
async def listener(*statuses: int) -> AsyncGenerator[tuple[str, asyncio.Queue[Any]]]:
    """Answers what it is told with these statuses, and with 200 from then on."""
    told: asyncio.Queue[Any] = asyncio.Queue()
    waiting = list(statuses)

    async def hear(request: web.Request) -> web.Response:
        await told.put(await request.json())
        return web.Response(status=waiting.pop(0) if waiting else 200)

    app = web.Application()
    app.router.add_post("/", hear)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/", told
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("title", "state", "confidence"),
    [("May", "done", 0.98), ("May, faded", "done", 0.41), ("May, unreadable", "failed", None)],
)
async def test_an_extraction_calls_back_with_what_was_found(title: str, state: str, confidence: float | None):
    async with services() as here, listener() as (url, told):
        await here.upload(title)
        begun = await here.ask("POST", "documents", "/extractions", json={"document": "d_1", "callback_url": url})
        assert begun.status_code == 202
        heard = await asyncio.wait_for(told.get(), 10)
        assert (heard["id"], heard["state"], heard.get("confidence")) == ("e_1", state, confidence)


async def test_it_calls_back_until_it_is_heard_and_once_for_a_repeated_request():
    async with services() as here, listener(503) as (url, told):
        await here.upload("May")
        request = {"document": "d_1", "callback_url": url}
        for _ in range(2):
            begun = await here.ask("POST", "documents", "/extractions", json=request, headers={"Idempotency-Key": "k"})
            assert begun.status_code == 202
        heard = [await asyncio.wait_for(told.get(), 10) for _ in range(2)]
        assert heard[0] == heard[1]
        await here.world.stop_telling()
        assert told.empty()


async def test_it_never_calls_back_when_that_is_dropped():
    async with services() as here, listener() as (url, told):
        here.world.faults.add(Fault("documents", "CALLBACK", "*", "drop"))
        await here.upload("May")
        await here.ask("POST", "documents", "/extractions", json={"document": "d_1", "callback_url": url})
        while not any(one["method"] == "CALLBACK" for one in here.world.calls.to_json()["calls"]):
            await here.world.calls.wait(here.world.calls.version, 10)
        assert told.empty()


async def test_pages_follow_one_another_and_the_last_has_no_next():
    async with services() as here:
        seen: list[str] = []
        cursor: dict[str, str] = {}
        pages = 0
        while pages == 0 or cursor:
            page = (await here.ask("GET", "supplier", "/products", params={"limit": "10", **cursor})).json()
            seen += [one["id"] for one in page["items"]]
            cursor = {"cursor": page["next"]} if "next" in page else {}
            pages += 1
        assert (pages, len(seen), len(set(seen))) == (3, 25, 25)
        assert (await here.ask("GET", "supplier", "/products?cursor=x")).status_code == 400


async def test_the_catalogue_takes_every_product_but_drafts():
    async with services() as here:
        products = (await here.ask("GET", "supplier", "/products")).json()["items"]
        answers = [
            (await here.ask("PUT", "catalogue", f"/products/{one['id']}", json={"name": one["name"], "price": 1}))
            for one in products
        ]
        assert [one.status_code for one in answers].count(422) == 2
        assert answers[7].json() == {"error": f"{products[7]['name']} is a draft"}
        again = await here.ask("PUT", "catalogue", "/products/SKU-001", json={"name": "Desk 1", "price": 2})
        assert (again.status_code, again.json()["price"]) == (200, 2)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_incident_desk_is_an_mcp_server_with_structured_answers(mode: Any):
    async with services() as here, Client(here.urls["incidents"] + "/mcp", mode=mode) as desk:
        tools = {tool.name: tool for tool in (await desk.list_tools()).tools}
        assert set(tools) == {
            *("get_incident", "page_oncall", "cancel_page"),
            *("post_status_update", "retract_status_update", "resolve_incident"),
        }
        assert tools["get_incident"].output_schema is not None
        incident = await desk.call_tool("get_incident", {"incident_id": "INC-1"})
        assert incident.structured_content is not None
        assert incident.structured_content["severity"] == "critical"
        page = await desk.call_tool("page_oncall", {"team": "payments", "incident_id": "INC-1", "message": "!"})
        assert page.structured_content is not None
        assert page.structured_content["person"] == "oncall@payments.example"
        refused = await desk.call_tool("page_oncall", {"team": "nobody", "incident_id": "INC-3", "message": "!"})
        assert refused.is_error
        assert isinstance(refused.content[0], TextContent)
        assert "no rota" in refused.content[0].text
        assert here.effects() == ["incidents page_oncall"]


async def test_the_same_key_pages_somebody_once():
    async with services() as here, Client(here.urls["incidents"] + "/mcp") as desk:
        call = {"team": "payments", "incident_id": "INC-1", "message": "!"}
        first, again = [
            await desk.call_tool("page_oncall", call, meta={"mcp_workflows/idempotency_key": "k"}) for _ in range(2)
        ]
        assert first.structured_content == again.structured_content
        assert here.effects() == ["incidents page_oncall"]


@pytest.mark.parametrize(
    ("fault", "effects"),
    [
        (Fault("incidents", "CALL", "page_oncall", "drop", done=True), ["incidents page_oncall"]),
        (Fault("incidents", "CALL", "page_oncall", "drop"), []),
        (Fault("incidents", "CALL", "page_*", "answer", status=503), []),
    ],
)
async def test_the_call_of_a_tool_fails_on_its_way_as_arranged(fault: Fault, effects: list[str]):
    async with services() as here:
        here.world.faults.add(fault)
        call = {"team": "payments", "incident_id": "INC-1", "message": "!"}
        with pytest.raises((BaseExceptionGroup, MCPError, httpx2.HTTPError)):
            async with Client(here.urls["incidents"] + "/mcp") as desk:
                await desk.call_tool("page_oncall", call)
        assert here.effects() == effects
        async with Client(here.urls["incidents"] + "/mcp") as desk:
            assert (await desk.call_tool("page_oncall", call)).is_error is False
