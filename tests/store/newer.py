"""A process of a later version: ``python -m tests.store.newer URL SCRIPTS``. It knows one migration more, and records a run."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from mcp_workflows.clock import utc_now
from mcp_workflows.engine.records import Turn
from mcp_workflows.store import Store, migrations
from tests.store.material import begin, done


async def main(url: str, scripts: str) -> None:
    migrations.SCHEMA += 1
    migrations.SCRIPTS = Path(scripts)
    async with Store.open(url, clock=utc_now, node_name="newer") as store:
        run_id = await begin(store)
        await store.record(Turn(run_id, [done("new", 1)]))
        print(run_id, flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
