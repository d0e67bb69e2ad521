"""How soon ten thousand interrupted runs go on in the next process.

``python -m benchmarks.recovery [--runs 10000] [--on sqlite postgres] [--json]``. A process begins that many runs of ten
functions, and is gone by ``kill -9`` when each of them has recorded its fifth step. Then another process starts. It counts
from its first look for runs to the first turn that it has recorded, and until each run has one. On PostgreSQL a process that
is gone is believed dead after a lease of silence only: what counts there begins when that has passed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop

from benchmarks.databases import DATABASES
from benchmarks.isolated import isolated
from benchmarks.memory import resident
from benchmarks.ten_steps import definition
from mcp_workflows.app import App, Role, built_app, spare_collector
from mcp_workflows.engine.records import Turn
from mcp_workflows.settings import Settings

RUNS = 10_000
INTERRUPTED_AFTER = "s4"
BOUND = 240.0
"""Seconds for all of it, on a machine however busy."""


@dataclass(frozen=True, slots=True)
class Figure:
    """Seconds since the first look for runs. ``all_moving``: each run has recorded something."""

    database: str
    runs: int
    first_step: float
    all_moving: float
    memory: float
    """Of the process at its highest, MiB."""


def settings(folder: Path, url: str, runs: int) -> Settings:
    return Settings.load(
        definitions=(folder / "ten.yaml",), database_url=url, functions=("benchmarks.functions",), max_runs=runs
    )


async def interrupted(folder: Path, url: str, runs: int) -> None:
    """Never comes back."""
    reached = 0
    async with built_app(settings(folder, url, runs), role=Role.SERVER) as app, app.moving():
        record = app.store.record

        async def record_and_stay(turn: Turn) -> None:
            nonlocal reached
            await record(turn)
            if any(step.path == INTERRUPTED_AFTER for step in turn.steps):
                reached += 1
                if reached == runs:
                    os.kill(os.getpid(), signal.SIGKILL)
                await asyncio.Event().wait()

        app.store.record = record_and_stay
        for start in range(0, runs, 500):
            await asyncio.gather(*(_start(app, number) for number in range(start, min(start + 500, runs))))
        await asyncio.sleep(BOUND)
    raise AssertionError(f"only {reached} runs got to the step where they are to be interrupted")


async def _start(app: App, number: int) -> None:
    await app.runs.start("ten_async", {"n": number}, actor="bench")


async def recovered(folder: Path, url: str, runs: int) -> dict[str, float]:
    """When the first run and when the last one has recorded something again."""
    began: float | None = None
    moved: dict[str, float] = {}
    all_moving = asyncio.Event()
    async with built_app(settings(folder, url, runs), role=Role.SERVER) as app:
        take_over, record = app.store.take_over, app.store.record

        async def taking_over() -> list[object]:
            nonlocal began
            at = time.perf_counter()
            dead = await take_over()
            if any(one.runs for one in dead):
                began = at
            return list(dead)

        async def record_and_count(turn: Turn) -> None:
            await record(turn)
            moved.setdefault(turn.run_id, time.perf_counter())
            if len(moved) == runs:
                all_moving.set()

        app.store.take_over, app.store.record = taking_over, record_and_count  # pyright: ignore[reportAttributeAccessIssue]
        spare_collector()  # as a server does
        async with app.moving():
            await asyncio.wait_for(all_moving.wait(), BOUND)
    assert began is not None
    first, last = min(moved.values()) - began, max(moved.values()) - began
    return {"first_step": first, "all_moving": last, "memory": resident("VmHWM")}


def run(on: str, runs: int = RUNS) -> Figure:
    with tempfile.TemporaryDirectory(prefix="mcp-workflows-bench-") as name, DATABASES[on]() as urls:
        (Path(name) / "ten.yaml").write_text(definition("async"), "utf-8")
        url = next(urls)
        isolated("recovery", "--process", "interrupted", name, url, "--runs", runs, seconds=BOUND, killed=True)
        return Figure(
            on, runs, **isolated("recovery", "--process", "recovered", name, url, "--runs", runs, seconds=BOUND)
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recovery", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--on", nargs="+", choices=DATABASES, default=list(DATABASES))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--process", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.process:
        mode, folder, url = asked.process
        work = {"interrupted": interrupted, "recovered": recovered}[mode]
        json.dump(uvloop.run(work(Path(folder), url, asked.runs)), sys.stdout)
        return
    figures = [run(on, asked.runs) for on in asked.on]
    if asked.json:
        json.dump([asdict(one) for one in figures], sys.stdout)
        return
    print(f"{'database':<10} {'runs':>8} {'first step, s':>14} {'all moving, s':>14} {'memory, MiB':>12}")
    for one in figures:
        print(f"{one.database:<10} {one.runs:>8,} {one.first_step:>14.2f} {one.all_moving:>14.2f} {one.memory:>12.0f}")


if __name__ == "__main__":
    main()
