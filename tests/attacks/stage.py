"""A server with several actors, and runs of theirs that wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcp_workflows.access.rate import Rate
from mcp_workflows.mcp_server.server import WorkflowServer
from mcp_workflows.runtime.views import RunView
from tests.mcp_server.actors import Actors
from tests.mcp_server.place import Place, place

LARGE = """
name: large
description: Answers with all that it was given, which may be a lot.
input: {required: [text], properties: {text: {type: string}}}
steps:
  - id: kept
    set: {text: "${input.text}"}
output: {text: "${steps.kept.output.text}"}
"""
WAITING = """
name: waiting
description: Waits until somebody, whoever it is, says something.
mcp: {wait: 10ms, join: "off"}
input: {properties: {text: {type: string, default: "Well?"}}}
steps:
  - id: ask
    approval: {message: "${input.text}", by: anyone, form: {properties: {more: {}}}}
"""
RUN = ("workflows:run",)
SCOPES = {"anna": RUN, "eve": RUN, "boss": ("workflows:operate",), "looker": ("workflows:read",)}


@dataclass
class Stage:
    here: Place
    actors: Actors
    url: str

    def header(self, actor: str) -> dict[str, str]:
        return self.actors.header(actor)

    async def waiting(self, actor: str, text: str = "Well?") -> RunView:
        return await waiting(self.here, actor, text)


@asynccontextmanager
async def stage(
    folder: Path, *, scopes: dict[str, tuple[str, ...]] = SCOPES, url: str | None = None, per_minute: int = 0,
    **options: Any,
) -> AsyncGenerator[Stage]:  # fmt: skip
    """``url`` of the database; ``options`` of ``serve_http``."""
    actors = Actors(folder, scopes)
    settings = {} if url is None else {"database_url": url}
    async with place(folder, {"large": LARGE, "waiting": WAITING}, **settings) as here:
        here.server = WorkflowServer(here.app.runs, rate=Rate(per_minute) if per_minute else None)
        async with here.listening(authentication=actors.authentication, **options) as at:
            yield Stage(here, actors, at)


async def waiting(here: Place, actor: str, text: str = "Well?") -> RunView:
    """A run that waits for somebody."""
    view = await here.app.runs.start("waiting", {"text": text}, actor=actor)
    return await here.app.runs.wait(view.run_id, actor=None, seconds=20, known=())


async def soon() -> None:
    """Before a condition is looked at again that nobody tells of."""
    await asyncio.sleep(0.02)
