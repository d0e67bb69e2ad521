"""An unknown run, told with where it was looked for and which runs there are."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from mcp_workflows.app import App
from mcp_workflows.errors import UnknownRun
from mcp_workflows.runtime.views import RunQuery


@asynccontextmanager
async def told_where(app: App) -> AsyncGenerator[None]:
    """An ``UnknownRun`` raised in the block becomes one that helps the person at the terminal."""
    try:
        yield
    except UnknownRun:
        page = await app.runs.list(RunQuery(status="any", limit=5))
        newest = "\n".join(f"  {run.run_id}  {run.workflow}  {run.status}" for run in page.runs)
        there = f" The newest there:\n{newest}" if newest else " There is none at all."
        raise UnknownRun(f"no such run in {app.settings.database_place}.{there}") from None
