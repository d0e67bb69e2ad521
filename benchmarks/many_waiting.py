"""What a hundred thousand waiting runs cost a process that serves: its memory, and the pace of the runs that it moves.

``python -m benchmarks.many_waiting [--runs 100000] [--rounds 7] [--seconds 2]``. Every other run waits for a timer, days
ahead, the rest for a signal; the store put them there. Each figure is of a process of its own, in turn on a copy of that
database and on one of an empty one, because a machine that others use too is busier at one time than at another; of the
rounds the median counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

import uvloop

from benchmarks.isolated import isolated
from benchmarks.memory import resident
from benchmarks.ten_steps import definition, steps_per_second
from mcp_workflows.app import App, Role, built_app
from mcp_workflows.clock import new_id, utc_now
from mcp_workflows.engine.records import RunRecord, StepRecord, Turn
from mcp_workflows.engine.states import RunStatus, StepStatus
from mcp_workflows.settings import Settings
from mcp_workflows.store import NewRun

CONCURRENCY = 32
WAITS = """
name: waits
description: Waits for a long time.
input: {properties: {n: {type: integer}}}
steps:
  - {id: later, wait: 30d}
  - {id: told, signal: {name: told}}
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """Of one process. ``memory`` in MiB, before it has moved anything."""

    memory: float
    steps_per_second: float


@dataclass(frozen=True, slots=True)
class Figures:
    waiting: int
    empty: list[Figure]
    full: list[Figure]

    @property
    def memory(self) -> float:
        """MiB that the waiting runs cost."""
        return statistics.median(one.memory for one in self.full) - statistics.median(one.memory for one in self.empty)

    @property
    def pace(self) -> float:
        """Of runs beside the waiting ones, as a part of that without them."""
        return statistics.median(one.steps_per_second for one in self.full) / statistics.median(
            one.steps_per_second for one in self.empty
        )


def settings(folder: Path) -> Settings:
    return Settings.load(definitions=(folder / "definitions",), database_url=f"sqlite:///{folder}/runs.db")


async def fill(folder: Path, runs: int) -> None:
    """The runs begin here, and are released to wait, as their machine would have it."""
    async with built_app(settings(folder), role=Role.STARTER) as app:
        for start in range(0, runs, 1000):
            await asyncio.gather(*(_put(app, number) for number in range(start, min(start + 1000, runs))))


async def _put(app: App, number: int) -> None:
    served = app.catalog.serving("waits")
    now = utc_now()
    new = NewRun(
        new_id("r_"), "waits", served.version, served.definition_id, {"n": number}, "bench", now,
        RunRecord(RunStatus.RUNNING, started_at=now),
    )  # fmt: skip
    await app.store.start(new)
    if number % 2:
        due_at = now + timedelta(days=30)
        step = StepRecord("later", 0, "wait", StepStatus.WAITING, due_at=due_at, started_at=now)
        record = RunRecord(RunStatus.WAITING, wake_at=due_at, started_at=now)
    else:
        step = StepRecord("told", 1, "signal", StepStatus.WAITING, started_at=now)
        record = RunRecord(RunStatus.WAITING, waiting_for=("told",), seq=1, started_at=now)
    await app.store.record(Turn(new.run_id, (step,), run=record, release=True))


async def measure(folder: Path, seconds: float) -> Figure:
    """What a serving process takes once it has looked at its database, then what it moves."""
    async with built_app(settings(folder), role=Role.SERVER) as app, app.moving():
        await steps_per_second(app.runs, "ten_set", 1, 0.5)
        memory = resident()
        return Figure(memory, await steps_per_second(app.runs, "ten_set", CONCURRENCY, seconds))


def run(waiting: int = 100_000, rounds: int = 7, seconds: float = 2.0) -> Figures:
    """All of it, the rounds in processes of their own."""
    with tempfile.TemporaryDirectory(prefix="mcp-workflows-bench-") as name:
        full, empty = Path(name) / "full", Path(name) / "empty"
        for folder in (full, empty):
            (folder / "definitions").mkdir(parents=True)
            (folder / "definitions" / "waits.yaml").write_text(WAITS, "utf-8")
            (folder / "definitions" / "ten.yaml").write_text(definition("set"), "utf-8")
        isolated("many_waiting", "--process", "fill", full, waiting)
        isolated("many_waiting", "--process", "fill", empty, 0)
        found: dict[Path, list[Figure]] = {full: [], empty: []}
        for _ in range(rounds):
            for folder in (empty, full):
                copy = Path(name) / "copy"
                shutil.copytree(folder, copy)
                found[folder].append(Figure(**isolated("many_waiting", "--process", "measure", copy, seconds)))
                shutil.rmtree(copy)
    return Figures(waiting, found[empty], found[full])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_waiting", description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000, help="that wait")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each round, and database")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--process", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if not asked.process:
        figures = run(asked.runs, asked.rounds, asked.seconds)
        if asked.json:
            json.dump(asdict(figures) | {"memory": figures.memory, "pace": figures.pace}, sys.stdout)
        else:
            table(figures)
        return
    mode, folder, number = asked.process
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if mode == "fill":
            json.dump(runner.run(fill(Path(folder), int(number))), sys.stdout)
        else:
            json.dump(asdict(runner.run(measure(Path(folder), float(number)))), sys.stdout)


def table(figures: Figures) -> None:
    print(f"{'waiting runs':<14}{'memory, MiB':>13}{'steps/s':>10}   (medians of {len(figures.full)} rounds)")
    for waiting, found in ((0, figures.empty), (figures.waiting, figures.full)):
        memory = statistics.median(one.memory for one in found)
        pace = statistics.median(one.steps_per_second for one in found)
        print(f"{waiting:<14,}{memory:>13,.1f}{pace:>10,.0f}")
    print(f"{'difference':<14}{figures.memory:>13,.1f}{figures.pace:>9.0%}")


if __name__ == "__main__":
    main()
