"""An unknown run, told with where it was looked for and which runs there are."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from mcp_workflows.app import App
from mcp_workflows.errors import UnknownRun
from mcp_workflows.runtime.runs import PREFIX
from mcp_workflows.runtime.views import RunQuery

_BEGINNING: Final = "r_"


@asynccontextmanager
async def told_where(app: App, given: str) -> AsyncGenerator[None]:
    """An ``UnknownRun`` of the id ``given`` raised in the block becomes one that helps the person at the terminal."""
    try:
        yield
    except UnknownRun:
        page = await app.runs.list(RunQuery(status="any", limit=5))
        newest = "\n".join(f"  {run.run_id}  {run.workflow}  {run.status}" for run in page.runs)
        there = f" The newest there:\n{newest}" if newest else " There is none at all."
        shortest = len(_BEGINNING) + PREFIX
        short = f" An id may be cut to its first {shortest} characters, and no more." if len(given) < shortest else ""
        raise UnknownRun(f"no such run in {app.settings.database_place}.{short}{there}") from None
