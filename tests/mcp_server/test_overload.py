"""A server with more to do than it can take: an agent is told that its run is queued, or that none was started."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mcp_server.place import place, refused, told
from tests.services.counting import Rule, counting_service

pytestmark = pytest.mark.anyio

SHIP = """
name: ship
description: Ships one order.
input: {required: [order], properties: {order: {type: integer}}}
mcp: {wait: 0s}
steps:
  - id: ship
    http: {method: POST, url: "URL/ship"}
"""


async def test_an_agent_is_told_that_its_run_is_queued_and_beyond_the_bound_that_none_was_started(
    tmp_path: Path,
) -> None:
    async with counting_service() as service:
        service.rule("/ship", Rule(hold=True))
        definitions = {"ship": SHIP.replace("URL", service.url)}
        async with (
            place(tmp_path, definitions, max_runs=1, max_queued_runs=2) as here,
            here.client("in process, 2026") as client,
        ):
            first = told(await client.call_tool("ship", {"order": 1}))
            assert first["status"] == "running"
            queued = [told(await client.call_tool("ship", {"order": order})) for order in (2, 3)]
            for run in queued:
                assert run["status"] == "pending"
                assert run["next"] == (
                    "Busy: the run is queued until a server has room for it, and begins by itself. "
                    "Call get_run with wait_seconds 50."
                )
            assert refused(await client.call_tool("ship", {"order": 4})) == (
                "The service is busy, no run was started: 2 runs wait for a place already, and no more are taken in. "
                "Call again in a minute, with the same input."
            )
            again = told(await client.call_tool("ship", {"order": 3}))
            assert (again["run_id"], again["joined"]) == (queued[1]["run_id"], True)
            await service.lift("/ship")
            for run in (first, *queued):
                ended = told(await client.call_tool("get_run", {"run_id": run["run_id"], "wait_seconds": 50}))
                assert ended["status"] == "completed"
            assert len(service.made("/ship")) == 3
