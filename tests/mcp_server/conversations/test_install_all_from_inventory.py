"""A long run with a large result: followed, read in parts, and cancelled too late."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mcp_workflows.samples.faults import Fault
from tests.mcp_server.conversations.agent import RUN_ID, Agent, Failed, Like
from tests.mcp_server.place import TRANSPORTS, Place, place

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("transport", TRANSPORTS)]

DEVICES = 220
INVENTORY = """
name: install_all_from_inventory
description: Installs every device of the inventory, page by page.
vars: {SUPPLIER_URL: "http://127.0.0.1:1", CATALOGUE_URL: "http://127.0.0.1:1"}
mcp: {wait: 300ms}
defaults: {retry: {delay: 10ms, jitter: false}}
steps:
  - id: pages
    repeat:
      state: {cursor: null}
      steps:
        - id: page
          http: {url: "${vars.SUPPLIER_URL}/products", query: {limit: 100, cursor: "${state.cursor}"}}
        - id: devices
          for_each:
            items: ${steps.page.output.items}
            as: device
            concurrency: 1
            steps:
              - id: install
                http:
                  method: PUT
                  url: ${vars.CATALOGUE_URL}/products/${device.id}
                  json: {name: "${device.name}", price: 1}
            output: {device: "${device.name}", run: "${steps.install.output.id}"}
      next: {cursor: '${get(steps.page.output, "next", null)}'}
      collect: ${steps.devices.output}
      until: ${state.cursor == null}
      max_iterations: 100
output: {installed: "${steps.pages.output.flatten()}"}
"""


def stock(here: Place) -> list[dict[str, Any]]:
    """The inventory, and what a run of it gives."""
    supplier = here.world.services["supplier"]
    supplier.books["products"].clear()
    devices = [(f"d-{number:03}", f"device {number}, {'x' * 70}") for number in range(DEVICES)]
    for device_id, name in devices:
        supplier.put("products", device_id, {"name": name})
    return [{"device": name, "run": device_id} for device_id, name in devices]


async def test_a_long_run_is_followed_and_its_large_result_is_read_in_parts(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"inventory": INVENTORY}) as here, here.client(transport) as client:
        agent = Agent(client)
        installed = stock(here)
        here.world.faults.add(Fault("catalogue", "PUT", "/products/d-114", "hold"))

        started = await agent.says("install_all_from_inventory")
        run_id = started["run_id"]
        await here.called("/products/d-114")
        assert started == {
            "run_id": RUN_ID,
            "status": "running",
            "progress": {"completed": started["progress"]["completed"], "running": started["progress"]["running"]},
            "next": "Call get_run with wait_seconds 50. You may do other things meanwhile.",
        }
        looked = await agent.says("get_run", run_id=run_id)
        assert looked == {
            "run_id": run_id,
            "workflow": "install_all_from_inventory",
            "version": 1,
            "status": "running",
            "progress": {"completed": 117, "running": ["pages[1].devices[14].install"]},
            "next": "Call get_run with wait_seconds 50. You may do other things meanwhile.",
        }

        asking = asyncio.create_task(agent.says("get_run", run_id=run_id, wait_seconds=50))
        here.world.lift_faults()
        ended = await asking
        assert ended == {
            "run_id": run_id,
            "workflow": "install_all_from_inventory",
            "version": 1,
            "status": "completed",
            "result_omitted": {
                "bytes": ended["result_omitted"]["bytes"],
                "shape": f"{{installed: [{DEVICES} \N{MULTIPLICATION SIGN} {{device, run}}]}}",
                "resource": f"run://{run_id}/result",
            },
            "next": "Read a part: get_run with select result.installed[0:20].",
        }
        assert ended["result_omitted"]["bytes"] > 16 * 1024

        assert agent.tokens <= 200
        parts: list[Any] = []
        select = "result.installed[0:20]"
        while select:
            part = await agent.says("get_run", run_id=run_id, select=select)
            following = f"result.installed[{len(parts) + 20}:{len(parts) + 40}]" if len(parts) + 20 < DEVICES else ""
            more = {"next": f"For more: get_run with select {following}."} if following else {}
            assert part == {
                "run_id": run_id,
                "workflow": "install_all_from_inventory",
                "version": 1,
                "status": "completed",
                "selected": installed[len(parts) : len(parts) + 20],
                "of": DEVICES,
                **more,
            }
            parts += part["selected"]
            select = following
        assert parts == installed

        assert await agent.says("cancel_run", run_id="r_zz") == Failed(
            "No run r_zz that you may see. You have no open runs; list_runs with status any shows finished ones."
        )
        assert await agent.says("cancel_run", run_id=run_id) == {
            "run_id": run_id,
            "status": "completed",
            "result_omitted": ended["result_omitted"],
            "next": Like(
                r"Nothing to cancel: it ended \d+ s ago\. Read a part: get_run with select result\.installed\[0:20\]\."
            ),
        }


async def test_an_id_that_is_not_there_is_answered_with_the_open_runs(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"inventory": INVENTORY}) as here, here.client(transport) as client:
        agent = Agent(client)
        stock(here)
        here.world.faults.add(Fault("catalogue", "PUT", "/products/d-000", "hold"))
        run_id = (await agent.says("install_all_from_inventory"))["run_id"]
        assert await agent.says("cancel_run", run_id="r_zz") == Failed(
            Like(
                rf"No run r_zz that you may see\. Your open runs: {run_id} install_all_from_inventory running \d+ s\. "
                r"list_runs with status any shows finished ones\."
            )
        )
        here.world.lift_faults()
