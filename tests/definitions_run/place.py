"""The repository's definitions, run by a real node against the sample services."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from mcp_workflows.app import App, open_app
from mcp_workflows.runtime.views import RunView
from mcp_workflows.samples.calls import Call
from mcp_workflows.samples.faults import Fault
from mcp_workflows.samples.remote import Samples, started_samples
from mcp_workflows.samples.services import BILLING_TOKEN
from mcp_workflows.settings import Settings

ROOT = Path(__file__).parents[2]
FOLDERS = (ROOT / "definitions", ROOT / "examples")


@dataclass(frozen=True, slots=True)
class Office:
    """A node with every definition, and the services that they call."""

    app: App
    samples: Samples

    async def run(self, workflow: str, arguments: Any) -> RunView:
        """The run at its end, or paused."""
        begun = await self.app.runs.start(workflow, arguments, actor="local")
        return await self.app.runs.wait(begun.run_id, actor=None, seconds=30.0)

    async def misbehave(self, *faults: Fault) -> None:
        await self.samples.misbehave(*faults)

    async def made(self) -> list[str]:
        """What had an effect, in order: ``crm POST /accounts``."""
        return [call.what for call in await self.samples.calls() if call.effect]

    async def calls(self, what: str) -> Sequence[Call]:
        return [call for call in await self.samples.calls() if call.what == what]


@asynccontextmanager
async def office(folder: Path, *definitions: Path, **variables: str) -> AsyncGenerator[Office]:
    """``definitions`` are those of the repository unless others are given; ``variables`` override theirs."""
    async with started_samples() as samples:
        settings = Settings(
            definitions=definitions or FOLDERS,
            database_url=f"sqlite:///{folder / 'runs.db'}",
            vars={**samples.variables, **variables},
            secrets={"BILLING_TOKEN": SecretStr(BILLING_TOKEN)},
        )
        async with open_app(settings) as app:
            assert app.catalog.problems == ()
            yield Office(app, samples)
