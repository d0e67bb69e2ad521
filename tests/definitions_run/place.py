"""The repository's definitions, run by a real node against the sample services."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from pydantic import SecretStr

from mcp_workflows.app import App, open_app
from mcp_workflows.mcp_server.server import WorkflowServer
from mcp_workflows.mcp_server.transport.http import base_url, listen, serve_http
from mcp_workflows.runtime.views import RunView
from mcp_workflows.samples.calls import Call
from mcp_workflows.samples.faults import Fault
from mcp_workflows.samples.remote import Samples
from mcp_workflows.samples.server import serving
from mcp_workflows.samples.services import BILLING_TOKEN
from mcp_workflows.samples.services import variables as variables_of
from mcp_workflows.settings import Settings

ROOT = Path(__file__).parents[2]
FOLDERS = (ROOT / "definitions", ROOT / "examples")


@dataclass(frozen=True, slots=True)
class Office:
    """A node with every definition, and the services that they call."""

    app: App
    samples: Samples

    async def run(self, workflow: str, arguments: Any) -> RunView:
        """The run at its end, paused, or asking somebody."""
        begun = await self.app.runs.start(workflow, arguments, actor="local")
        return await self.app.runs.wait(begun.run_id, actor=None, seconds=30.0)

    async def answer(self, run: RunView, name: str, data: Any, *, person: bool = True) -> RunView:
        """The run after somebody answered an approval, or sent a signal: at its end, paused, or asking again."""
        via = "cli" if person else "mcp"
        asked = {wait.path for wait in run.waiting_for}
        sent = await self.app.runs.signal(run.run_id, name, data, actor="local", via=via, person=person)
        return await self.app.runs.wait(sent.run_id, actor=None, seconds=30.0, known=asked)

    async def misbehave(self, *faults: Fault) -> None:
        await self.samples.misbehave(*faults)

    async def made(self) -> list[str]:
        """What had an effect, in order: ``crm POST /accounts``."""
        return [call.what for call in await self.samples.calls() if call.effect]

    async def calls(self, what: str) -> Sequence[Call]:
        return [call for call in await self.samples.calls() if call.what == what]


@asynccontextmanager
async def office(folder: Path, *definitions: Path, reachable: bool = False, **variables: str) -> AsyncGenerator[Office]:
    """``definitions`` are those of the repository unless others are given; ``variables`` override theirs.

    ``reachable``: services can call back.
    """
    async with (
        serving({}) as (_, urls),
        httpx2.AsyncClient(timeout=30.0, trust_env=False) as client,
        _opened(_settings(folder, definitions, {**variables_of(urls), **variables}), reachable=reachable) as app,
    ):
        assert app.catalog.problems == ()
        yield Office(app, Samples(urls, client))


def _settings(folder: Path, definitions: tuple[Path, ...], variables: Mapping[str, str]) -> Settings:
    return Settings(
        definitions=definitions or FOLDERS,
        database_url=f"sqlite:///{folder / 'runs.db'}",
        vars=variables,
        secrets={"BILLING_TOKEN": SecretStr(BILLING_TOKEN)},
        functions=("examples.functions",),
    )


@asynccontextmanager
async def _opened(settings: Settings, *, reachable: bool) -> AsyncGenerator[App]:
    if not reachable:
        async with open_app(settings) as app:
            yield app
        return
    with closing(listen("127.0.0.1", 0)) as listener:
        async with open_app(settings, served_at=base_url("127.0.0.1", listener)) as app:
            stop = asyncio.Event()
            serving_http = serve_http(WorkflowServer(app.runs), "127.0.0.1", 0, stop=stop, listener=listener)
            serves = asyncio.create_task(serving_http)
            try:
                yield app
            finally:
                stop.set()
                await serves
