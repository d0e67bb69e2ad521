"""What takes long, whole: the definitions that the manual shows, a service, and the server that it calls back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from mcp_workflows.app import App, open_app
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.mcp_server.server import WorkflowServer
from mcp_workflows.mcp_server.transport.http import base_url, listen, serve_http
from mcp_workflows.settings import Settings
from tests.docs.place import blocks, page
from tests.services.scripted import Answer, Scripted, scripted

pytestmark = pytest.mark.anyio

SHOWN = {
    block.split()[1]: block
    for block in blocks(page("docs/language.md"), "yaml")
    if block.startswith(("name: report\n", "name: shipment\n"))
}


@dataclass
class Running:
    app: App
    service: Scripted
    url: str

    async def start(self, workflow: str, key: str | None = None) -> str:
        return (await self.app.runs.start(workflow, {}, actor="agent", idempotency_key=key)).run_id

    async def ended(self, run_id: str) -> Any:
        view = await self.app.runs.wait(run_id, actor="agent", seconds=20)
        assert view.status.finished, view
        return view

    async def told_where(self) -> str:
        """The address that the service was given."""
        return json.loads((await self.service.called("/orders"))[0].body)["notify"]


@asynccontextmanager
async def running(folder: Path, service: Scripted, *, called: bool = True, **more: Any) -> AsyncGenerator[Running]:
    (folder / "definitions").mkdir(exist_ok=True)
    for name, text in SHOWN.items():
        (folder / "definitions" / f"{name}.yaml").write_text(text, "utf-8")
    settings = Settings.load(
        definitions=(folder / "definitions",),
        vars={"BASE": service.url},
        **more,
    )
    stop = asyncio.Event()
    with closing(listen("127.0.0.1", 0)) as listener:
        url = base_url("127.0.0.1", listener)
        async with open_app(settings, served_at=url if called else None) as app:
            serving = asyncio.create_task(
                serve_http(WorkflowServer(app.runs), "127.0.0.1", 0, stop=stop, listener=listener)
            )
            try:
                yield Running(app, service, url)
            finally:
                stop.set()
                await serving


async def test_a_report_is_asked_for_until_it_is_there_fetched_and_filed(tmp_path: Path) -> None:
    content = bytes(range(256)) * 8000
    async with scripted() as service, running(tmp_path, service) as here:
        service.on("/jobs", Answer(202, {"state": "queued"}, {"Location": "/jobs/7"}))
        service.on(
            "/jobs/7",
            Answer(200, {"state": "running"}),
            Answer(503),
            Answer(200, {"state": "done", "file": "f 1"}),
        )
        service.on("/files/f%201", Answer(200, content, {"Content-Type": "application/pdf"}))
        service.on("/archive", Answer(201, {"id": "a1"}))
        view = await here.ended(await here.start("report"))
        assert view.result == {"size": 2_048_000, "filed": "a1"}
        assert len(service.made("/jobs")) == 1
        assert len(service.made("/jobs/7")) == 3
        assert content in service.made("/archive")[0].body


async def test_another_process_goes_on_asking_and_sends_nothing_again(tmp_path: Path) -> None:
    async with scripted() as service:
        service.on("/jobs", Answer(202, {"state": "queued"}, {"Location": "/jobs/7"}))
        service.on("/jobs/7", Answer(200, {"state": "running"}))
        service.on("/files/f", Answer(200, b"x"))
        service.on("/archive", Answer(201, {"id": "a1"}))
        async with running(tmp_path, service) as here:
            run_id = await here.start("report")
            await service.called("/jobs/7")
        service.on("/jobs/7", Answer(200, {"state": "done", "file": "f"}))
        async with running(tmp_path, service) as here:
            assert (await here.ended(run_id)).result == {"size": 1, "filed": "a1"}
        assert len(service.made("/jobs")) == 1


async def test_a_call_ends_the_step_and_its_body_is_the_output(tmp_path: Path) -> None:
    async with scripted() as service, running(tmp_path, service) as here, httpx2.AsyncClient() as client:
        service.on("/orders", Answer(202, {"order": "o1"}))
        run_id = await here.start("shipment")
        url = await here.told_where()
        assert url.startswith(f"{here.url}/callbacks/")
        assert (await client.post(url, json={"arrived": True})).status_code == 202
        assert (await here.ended(run_id)).result == {"arrived": True}
        assert (await client.post(url, json={"arrived": False})).status_code == 200
        assert (await client.post(url[:-3], json={"arrived": False})).status_code == 404


async def test_a_call_comes_before_the_answer_to_the_request(tmp_path: Path) -> None:
    async with scripted() as service, running(tmp_path, service) as here, httpx2.AsyncClient() as client:

        async def call_at_once(body: bytes) -> Answer:
            assert (await client.post(json.loads(body)["notify"], json={"quick": True})).status_code == 202
            return Answer(202)

        service.act("/orders", call_at_once)
        assert (await here.ended(await here.start("shipment"))).result == {"quick": True}


async def test_a_call_comes_while_no_process_is_up_that_knows_the_run(tmp_path: Path) -> None:
    async with scripted() as service:
        service.on("/orders", Answer(202))
        async with running(tmp_path, service) as here:
            run_id = await here.start("shipment")
            token = (await here.told_where()).rpartition("/")[2]
        async with running(tmp_path, service) as here, httpx2.AsyncClient() as client:
            assert (await client.post(f"{here.url}/callbacks/{token}", json=[1])).status_code == 202
            assert (await here.ended(run_id)).result == [1]
        assert len(service.made("/orders")) == 1


async def test_a_cancelled_run_is_not_called_any_more(tmp_path: Path) -> None:
    async with scripted() as service, running(tmp_path, service) as here, httpx2.AsyncClient() as client:
        service.on("/orders", Answer(202))
        run_id = await here.start("shipment")
        url = await here.told_where()
        await here.app.runs.cancel(run_id, actor="agent", via="test")
        assert (await here.ended(run_id)).not_undone[0].path == "ship"
        assert (await client.post(url, json={})).status_code == 410


async def test_a_process_that_nobody_can_call_leaves_the_run_to_one_that_can_be(tmp_path: Path) -> None:
    async with scripted() as service:
        service.on("/orders", Answer(202))
        async with running(tmp_path, service, called=False) as here:
            run_id = await here.start("shipment")
            seen = here.app.store.change
            view = await here.app.runs.get(run_id, actor="agent")
            while view.stranded is None:  # it looks at the run before it leaves it
                seen = await here.app.store.wait_for_change(seen)
                view = await here.app.runs.get(run_id, actor="agent")
            assert view.status is RunStatus.PENDING
            assert view.stranded.startswith("its step ship waits for a call, and nobody can call this server")
        assert service.calls == []
        async with running(tmp_path, service) as here:
            assert (await here.told_where()).startswith(f"{here.url}/callbacks/")
        service.calls.clear()
        async with running(tmp_path, service, called=False, public_url="https://hooks.example/wf") as here:
            await here.start("shipment", "another")
            assert (await here.told_where()).startswith("https://hooks.example/wf/callbacks/")
