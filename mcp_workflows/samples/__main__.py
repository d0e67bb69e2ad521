"""``python -m mcp_workflows.samples``: the sample services as a process of their own.

Prints one line of JSON, the URL of each service, and serves until it is interrupted. Where its standard input is a pipe,
it also ends when that is closed: it cannot outlive the program that started it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import stat
import sys

from mcp_workflows.samples.server import serving
from mcp_workflows.samples.services import PORTS


async def _serve(ports: dict[str, int]) -> None:
    async with serving(ports) as (_, urls):
        sys.stdout.write(json.dumps(urls) + "\n")
        sys.stdout.flush()
        if _started_by_a_program():
            await asyncio.to_thread(sys.stdin.buffer.read)
        else:
            await (
                asyncio.Event().wait()
            )  # a terminal, which is not read from the background, or nothing, as under nohup


def _started_by_a_program() -> bool:
    mode = os.fstat(sys.stdin.fileno()).st_mode if sys.stdin else 0
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def main() -> None:
    """Reads the arguments and serves."""
    parser = argparse.ArgumentParser(description="The sample services on loopback.")
    parser.add_argument("--any-port", action="store_true", help="free ports instead of 8900 to 8908")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)  # before the MCP SDK does, which tells of every request
    try:
        asyncio.run(_serve({} if arguments.any_port else dict(PORTS)))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
