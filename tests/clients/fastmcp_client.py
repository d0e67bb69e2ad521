"""FastMCP's client. Arguments, as JSON: url or command, era, tasks (whether it knows the extension), answer.

What it saw goes to stdout as one line of JSON.
"""
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from fastmcp import Client
from fastmcp.client.transports import StdioTransport


async def main(given: dict[str, Any]) -> dict[str, Any]:
    if given["tasks"]:
        import fastmcp_tasks  # noqa: F401  # which lets clients know the extension
    asked: list[str] = []
    progress: list[float] = []

    async def person(message: str, response_type: Any, params: Any, context: Any) -> dict[str, Any]:
        asked.append(message)
        return given["answer"]

    async def moved(done: float, total: float | None, message: str | None) -> None:
        progress.append(done)

    transport = given.get("url") or StdioTransport(given["command"], given["args"], env=given["env"])
    mode = "2026-07-28" if given["era"] == "2026" else "legacy"
    async with Client(transport, mode=mode, elicitation_handler=person, progress_handler=moved) as client:
        tools = [tool.name for tool in await client.list_tools()]
        result = await client.call_tool("order", {"item": "a desk"}, raise_on_error=False)
    return {
        "tools": tools,
        "asked": asked,
        "progress": progress,
        "error": result.is_error,
        "told": result.structured_content,
    }


print(json.dumps(asyncio.run(main(json.loads(sys.argv[1])))))  # noqa: T201
