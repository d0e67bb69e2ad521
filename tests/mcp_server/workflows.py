"""Workflows that many tests of this folder call, and how one follows a run of them to its rest."""

from __future__ import annotations

import asyncio
from typing import Any

from mcp import Client

from tests.mcp_server.place import SAGA, edited, told

PAUSING = edited(SAGA, ("\nsteps:", "\non_failure: pause\nmcp: {wait: 300ms}\nsteps:"))
ORDER = {"order_id": "o1", "amount": 12, "shipment_status": "2OO"}

LARGE = """
name: install_all_from_inventory
description: Installs every device of the inventory.
input: {properties: {count: {type: integer, default: 412}}}
mcp: {wait: 20s}
steps:
  - id: installed
    set:
      devices: '${lists.range(input.count).map(i, {"device": "device-with-a-name-that-is-long-" + string(i)})}'
output: {installed: "${steps.installed.output.devices}"}
"""

SLOW = """
name: slow_one
description: Waits for an hour between two steps.
mcp: {wait: 200ms}
steps:
  - id: first
    set: {x: 1}
  - id: pause
    wait: 1h
"""


async def ended(client: Client, run: dict[str, Any]) -> dict[str, Any]:
    """Follow a run as the instructions say, until it needs nothing more; without the names that get_run adds."""
    async with asyncio.timeout(30):
        while run["status"] not in ("completed", "failed", "cancelled", "paused"):
            run = told(await client.call_tool("get_run", {"run_id": run["run_id"], "wait_seconds": 20}))
    return {name: value for name, value in run.items() if name not in ("workflow", "version")}


STRICT = """
name: register
description: Takes what it is given.
input:
  required: [email]
  properties:
    email: {type: string, format: email}
    plan: {type: string, enum: [free, pro]}
    anything: {}
output: {seen: "${input.email}"}
steps:
  - id: one
    set: {x: 1}
"""

ASK_FIRST = """
name: ask_first
description: Asks a person before it does anything.
mcp: {wait: 20s}
steps:
  - id: agree
    approval: {message: Go on?}
output: ${steps.agree.output.via}
"""

ASK = """
name: ask
description: Waits for a word.
mcp: {wait: 100ms}
steps:
  - id: word
    signal: {name: word}
"""
