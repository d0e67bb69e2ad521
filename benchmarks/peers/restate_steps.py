"""Restate at the ten-step workflow: ``python -m benchmarks.peers.restate_steps [--json]``.

The server is the one of the npm package ``@restatedev/restate-server`` with its defaults; the service (``restate_service.py``)
is served by Hypercorn as Restate's documentation has it for production, with a worker for each core. Runs are begun, and
waited for, by requests to the server's ingress. ``make peers`` installs the server.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import uvloop

from benchmarks.beside import answering, beside, free_ports
from benchmarks.pace import CONCURRENCIES, warmed_pace
from benchmarks.trivial_server import trivial_server
from benchmarks.workload import Figure, session, tell

INSTALLED = Path(".peers/node_modules/.bin/restate-server")
HANDLERS = {"compute": "compute", "http": "charge"}
"""By kind of step."""
HYPERCORN = f"""
h2_max_concurrent_streams = 2147483647
keep_alive_max_requests = 2147483647
keep_alive_timeout = 2147483647
workers = {os.cpu_count()}
worker_class = "uvloop"
loglevel = "warning"
"""


def server_program() -> str | None:
    """Where the server is; ``None``: it is not installed."""
    return str(INSTALLED.resolve()) if INSTALLED.exists() else shutil.which("restate-server")


@asynccontextmanager
async def serving(folder: Path, base: str, client: aiohttp.ClientSession) -> AsyncGenerator[str]:
    """The URL of the ingress, once server and service know of one another."""
    program = server_program()
    assert program is not None
    ingress, admin, fabric, service = free_ports(4)
    (folder / "hypercorn.toml").write_text(f'bind = "127.0.0.1:{service}"{HYPERCORN}')
    settings = {
        "RESTATE_BASE_DIR": str(folder / "data"),
        "RESTATE_BIND_IP": "127.0.0.1",
        "RESTATE_BIND_PORT": str(fabric),
        "RESTATE_INGRESS__BIND_PORT": str(ingress),
        "RESTATE_ADMIN__BIND_PORT": str(admin),
        "RESTATE_LISTEN_MODE": "tcp",
        "RESTATE_LOG_FILTER": "warn",
        "DO_NOT_TRACK": "1",
    }
    hypercorn = [sys.executable, "-m", "hypercorn", "--config", str(folder / "hypercorn.toml")]
    log = folder / "log"
    with (
        beside([program, "--no-logo"], log=log, environment=settings),
        beside([*hypercorn, "benchmarks.peers.restate_service:app"], log=log, environment={"BENCH_BASE": base}),
    ):
        await answering(client, f"http://127.0.0.1:{admin}/health")
        await answering(client, f"http://127.0.0.1:{admin}/deployments", post={"uri": f"http://127.0.0.1:{service}"})
        await answering(client, f"http://127.0.0.1:{ingress}/restate/health")
        yield f"http://127.0.0.1:{ingress}"


async def measure(concurrencies: Sequence[int], seconds: float) -> list[Figure]:
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="mcp-workflows-bench-") as name, trivial_server() as base:
        async with session() as client, serving(Path(name), base, client) as ingress:
            for kind, handler in HANDLERS.items():

                async def one(url: str = f"{ingress}/Ten/{handler}") -> object:
                    async with client.post(url, json=1) as response:
                        response.raise_for_status()
                        return await response.json()

                for concurrency in concurrencies:
                    found = await warmed_pace(one, concurrency, seconds)
                    figures.append(Figure.of("Restate", "", kind, concurrency, found))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.restate_steps", description=__doc__)
    parser.add_argument("--concurrency", type=int, nargs="+", default=CONCURRENCIES)
    parser.add_argument("--seconds", type=float, default=3.0, help="per figure")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if server_program() is None:
        sys.exit("SKIPPED: the Restate server is not installed; it comes by npm: make peers")
    tell(uvloop.run(measure(asked.concurrency, asked.seconds)), as_json=asked.json)


if __name__ == "__main__":
    main()
