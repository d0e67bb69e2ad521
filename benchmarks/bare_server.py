"""A server of the bare SDK with one trivial tool: the ceiling of what a tool call can reach.

``python -m benchmarks.bare_server`` serves on stdio, ``… PORT`` over HTTP at ``/mcp``.
"""

from __future__ import annotations

import sys
from typing import Any

import uvloop
from mcp.server import MCPServer


def server() -> MCPServer[Any]:
    bare = MCPServer("bare", log_level="WARNING")

    @bare.tool()
    async def add_one(n: int) -> dict[str, int]:  # pyright: ignore[reportUnusedFunction]
        """Adds one."""
        return {"n": n + 1}

    return bare


def main() -> None:
    bare = server()
    if len(sys.argv) > 1:
        uvloop.run(bare.run_streamable_http_async(host="127.0.0.1", port=int(sys.argv[1])))
    else:
        uvloop.run(bare.run_stdio_async())


if __name__ == "__main__":
    main()
