"""A loop that is killed near its end goes on at once: it takes rows to be read, and not its work to be gone through again."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mcp_workflows.clock import utc_now
from mcp_workflows.store.tables import instant
from tests.recovery.server import Place, ServerProcess, place
from tests.services.counting import Rule, counting_service

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

ITEMS = 2000
SOON = timedelta(seconds=5)
"""For a whole process, imports aside, on a machine that has other things to do."""
BIG = """
name: big
description: Two thousand items, of which one asks a service.
input: {required: [items], properties: {items: {type: array, items: {type: integer}}}}
vars: {SERVICE: "http://127.0.0.1:1"}
mcp: {wait: 0s, join: "off"}
on_failure: fail
steps:
  - id: each
    for_each:
      items: ${input.items}
      concurrency: 10
      steps:
        - {id: doubled, set: {n: "${item * 2}"}}
        - {id: tell, when: "${item == 1990}", http: {method: POST, url: "${vars.SERVICE}/tell"}}
      output: ${steps.doubled.output.n}
"""


def settled(here: Place) -> dict[str, tuple[Any, ...]]:
    """The rows of items and steps that are done, by path."""
    return {path: tuple(row) for path, *row in here.read("SELECT path, seq, finished_at FROM step WHERE seq > 0")}


async def ended(server: ServerProcess, run_id: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while (view := await server.call("get_run", run_id=run_id, wait_seconds=5))["status"] == "running":
            pass
    return view


async def test_a_loop_that_is_killed_near_its_end_goes_on_soon_and_repeats_nothing(tmp_path: Path) -> None:
    async with counting_service() as service, place(tmp_path, SERVICE=service.url) as here:
        here.define("big", BIG)
        service.rule("/tell", Rule(hold=True))
        server = await here.serve()
        run_id = (await server.call("big", items=list(range(ITEMS))))["run_id"]
        await here.settled(lambda: len(here.read("SELECT 1 FROM step WHERE kind = 'item'")) == ITEMS - 1)
        await service.seen(lambda: len(service.made("/tell")) == 1)
        await server.kill()
        before = settled(here)
        server = await here.serve()
        await service.seen(lambda: len(service.made("/tell")) == 2)
        [(started_at,)] = here.read("SELECT max(started_at) FROM node")
        assert utc_now() - instant(started_at) < SOON
        await service.lift("/tell")
        view = await ended(server, run_id)
        assert (view["status"], view["result"]) == ("completed", [2 * n for n in range(ITEMS)])
        after = settled(here)
        assert {path: row for path, row in after.items() if path in before} == before
