"""A tool call that starts and finishes a run of one step, against the same call of a tool that just answers.

``python -m benchmarks.tool_calls [--transport "in process" stdio http] [--seconds 3] [--json]``. The official client, one
connection, several calls at a time. The bare tool is one of the SDK's own server; ours is a workflow of one ``set`` step, which
is on disk (SQLite, ``synchronous=FULL``) before it is answered. The two take turns in short rounds, so that a noisy machine
troubles both alike; the median round counts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from benchmarks import bare_server
from benchmarks.beside import answering, beside, free_ports
from benchmarks.pace import Pace, pace
from mcp_workflows.app import open_app, spare_collector
from mcp_workflows.mcp_server.server import WorkflowServer
from mcp_workflows.settings import Settings

CONCURRENCIES = (1, 32)
TRANSPORTS = ("in process", "stdio", "http")
ROUNDS = 3
TOOL = "add_one"
WORKFLOW = """
name: add_one
description: Adds one to a number, in one step, which is recorded before the call is answered.
input: {required: [n], properties: {n: {type: integer}}}
mcp: {join: "off"}
steps:
  - {id: add, set: {n: "${input.n + 1}"}}
output: {n: "${steps.add.output.n}"}
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """Calls per second, and the median of one call in ms."""

    transport: str
    concurrency: int
    bare_per_second: float
    ours_per_second: float
    bare_p50: float
    ours_p50: float


@asynccontextmanager
async def servers(transport: str, folder: Path) -> AsyncGenerator[tuple[Any, Any]]:
    """What a client connects to: the bare one, and ours."""
    (folder / "add_one.yaml").write_text(WORKFLOW, "utf-8")
    database = f"sqlite:///{folder}/runs.db"
    serve = ["-m", "mcp_workflows", "serve", str(folder / "add_one.yaml"), "--database", database]
    bare = ["-m", "benchmarks.bare_server"]
    match transport:
        case "in process":
            spare_collector()  # as the servers of the other transports do
            settings = Settings.load(definitions=(folder / "add_one.yaml",), database_url=database)
            async with open_app(settings) as app:
                yield bare_server.server(), WorkflowServer(app.runs)
        case "stdio":
            command = sys.executable
            yield StdioServerParameters(command=command, args=bare), StdioServerParameters(command=command, args=serve)
        case _:
            one, two = free_ports(2)
            urls = [f"http://127.0.0.1:{port}/mcp" for port in (one, two)]
            with (
                beside([sys.executable, *bare, str(one)]),
                beside([sys.executable, *serve, "--http", f"127.0.0.1:{two}"]),
            ):
                async with aiohttp.ClientSession() as client:
                    for url in urls:
                        await answering(client, url, well=False)
                yield urls[0], urls[1]


async def measure(transport: str, seconds: float) -> list[Figure]:
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="mcp-workflows-bench-") as name:
        async with (
            servers(transport, Path(name)) as (bare, ours),
            Client(bare) as bare_client,
            Client(ours) as our_client,
        ):
            for concurrency in CONCURRENCIES:
                rounds: tuple[list[Pace], list[Pace]] = ([], [])
                for number in range(ROUNDS + 1):
                    for client, paces in zip((bare_client, our_client), rounds, strict=True):
                        found = await pace(lambda client=client: _call(client), concurrency, seconds / ROUNDS)
                        if number > 0:  # the first is to warm up
                            paces.append(found)
                figures.append(_figure(transport, concurrency, *rounds))
    return figures


async def _call(client: Client) -> None:
    result = await client.call_tool(TOOL, {"n": 1})
    assert not result.is_error, result


def _figure(transport: str, concurrency: int, bare: list[Pace], ours: list[Pace]) -> Figure:
    rates = [statistics.median(one.per_second for one in paces) for paces in (bare, ours)]
    medians = [statistics.median(one.p50 for one in paces) for paces in (bare, ours)]
    return Figure(transport, concurrency, *rates, *medians)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tool_calls", description=__doc__)
    parser.add_argument("--transport", nargs="+", choices=TRANSPORTS, default=list(TRANSPORTS))
    parser.add_argument("--seconds", type=float, default=3.0, help="per figure")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    figures = [one for transport in asked.transport for one in uvloop.run(measure(transport, asked.seconds))]
    if asked.json:
        json.dump([asdict(one) for one in figures], sys.stdout)
        return
    print(
        f"{'transport':<12}{'calls at a time':>16}{'bare/s':>9}{'ours/s':>9}{'ratio':>8}{'bare p50, ms':>14}{'ours':>8}"
    )
    for one in figures:
        ratio = one.ours_per_second / one.bare_per_second
        print(
            f"{one.transport:<12}{one.concurrency:>16}{one.bare_per_second:>9,.0f}{one.ours_per_second:>9,.0f}"
            f"{ratio:>8.0%}{one.bare_p50:>14.2f}{one.ours_p50:>8.2f}"
        )


if __name__ == "__main__":
    main()
