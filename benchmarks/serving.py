"""A node in a process of its own that starts and moves ten-step runs in a database: ``python -m benchmarks.serving URL``.

What measures several of them, or one on several databases, starts it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import uvloop

from benchmarks.pace import Pace, pace
from benchmarks.ten_steps import definition, one_run
from mcp_workflows.app import Role, built_app, spare_collector
from mcp_workflows.settings import Settings

KIND = "async"


async def measure(url: str, concurrency: int, seconds: float, begin_at: float) -> Pace:
    """From ``begin_at``, by the machine's monotonic clock, so that several begin together; of runs, not of steps."""
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "ten.yaml").write_text(definition(KIND), "utf-8")
        settings = Settings.load(
            definitions=(Path(name) / "ten.yaml",), database_url=url, functions=("benchmarks.functions",)
        )
        async with built_app(settings, role=Role.SERVER) as app, app.moving():

            async def one() -> None:
                await one_run(app.runs, f"ten_{KIND}")

            await pace(one, concurrency, 0.5)
            await asyncio.sleep(max(begin_at - time.monotonic(), 0.0))
            return await pace(one, concurrency, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--begin-at", type=float, default=0.0)
    asked = parser.parse_args()
    spare_collector()
    json.dump(asdict(uvloop.run(measure(asked.url, asked.concurrency, asked.seconds, asked.begin_at))), sys.stdout)


if __name__ == "__main__":
    main()
