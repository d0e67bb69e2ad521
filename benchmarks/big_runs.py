"""Runs with very many steps, through everything but the protocol, each in a process of its own: how fast, how much memory,
and, after ``kill -9`` shortly before the end, how soon the next process goes on.

``python -m benchmarks.big_runs [--scale 0.1]``. A run is killed by its own process, right before the turn is recorded that
holds the tenth step from the end. It moves again when the next process has committed its first turn.
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
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.isolated import isolated
from benchmarks.memory import resident
from benchmarks.trivial_server import trivial_server
from mcp_workflows.app import App, Role, built_app
from mcp_workflows.clock import utc_now
from mcp_workflows.engine.machine import Machine
from mcp_workflows.engine.records import Turn
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.runtime.loading import load_records
from mcp_workflows.runtime.views import RunQuery
from mcp_workflows.settings import Settings

HEAD = """
name: big
description: A run with very many steps.
input: {required: [size, items], properties: {size: {type: integer}, items: {type: array, items: {type: integer}}}}
mcp: {wait: 0s, join: "off"}
on_failure: fail
"""
SET = 'set: {n: "${index}", text: "number ${index} of run ${run.id}"}'
HTTP = 'http: {method: POST, url: "${vars.BASE}/charges", json: {n: "${index}", plan: enterprise}}'
VARS = 'vars: {BASE: "http://127.0.0.1:1"}\n'
FOR_EACH = """
steps:
  - id: each
    for_each:
      items: ${input.items}
      concurrency: 50
      steps: [{id: work, WORK}]
output: ${size(steps.each.output)}
"""
REPEAT = """
steps:
  - id: each
    repeat:
      state: 0
      next: ${state + 1}
      until: ${state == input.size}
      max_iterations: 1000000
      steps: [{id: work, WORK}]
"""
KINDS = {
    "for_each set": (FOR_EACH.replace("WORK", SET), 10_000),
    "for_each http": (FOR_EACH.replace("WORK", HTTP), 10_000),
    "repeat set": (REPEAT.replace("WORK", SET), 100_000),
    "repeat http": (REPEAT.replace("WORK", HTTP), 10_000),
}
"""Of each its steps, and how many of them."""
BEFORE_END = 10
"""How far from the end a run is killed."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A run from its start to its end. Memory in MiB: of the process before, and at its highest."""

    steps_per_second: float
    rss: float
    peak: float


@dataclass(frozen=True, slots=True)
class Again:
    """After the kill. Milliseconds: reading the records and building the machine by themselves; from the node's first look
    at the database to the first turn that is committed; and the same from before the database is opened."""

    left: int
    load: float
    claim: float
    process: float


def settings(folder: Path, base: str) -> Settings:
    return Settings.load(
        definitions=(folder / "big.yaml",),
        database_url=f"sqlite:///{folder}/runs.db",
        vars={"BASE": base},
        max_attempts_per_host=1000,
    )


# In processes of their own


async def whole(folder: Path, base: str, size: int) -> Whole:
    """One run of one step first, so that what any run needs is there."""
    async with built_app(settings(folder, base), role=Role.SERVER) as app, app.moving():
        await _run(app, 1)
        before = resident()
        begun = time.perf_counter()
        await _run(app, size)
        took = time.perf_counter() - begun
    return Whole(size / took, before, resident("VmHWM"))


async def killed(folder: Path, base: str, size: int) -> None:
    """Never comes back."""
    last = f"each[{size - BEFORE_END}].work"
    async with built_app(settings(folder, base), role=Role.SERVER) as app, app.moving():
        record = app.store.record

        async def record_or_die(turn: Turn) -> None:
            if any(step.path == last for step in turn.steps):
                os.kill(os.getpid(), signal.SIGKILL)
            await record(turn)

        app.store.record = record_or_die
        await _run(app, size)
    raise AssertionError("the run ended and should have been killed")


async def again(folder: Path, base: str, size: int) -> Again:
    left, load = await _load(folder, base, size)
    marks: dict[str, float] = {"process": time.perf_counter()}
    async with built_app(settings(folder, base), role=Role.SERVER) as app:
        app.store.claim_runs = _marking(marks, "claim", app.store.claim_runs)
        record = app.store.record

        async def record_and_mark(turn: Turn) -> None:
            await record(turn)
            marks.setdefault("moving", time.perf_counter())

        app.store.record = record_and_mark
        run_id = await _run_id(app)
        async with app.moving():
            await _finished(app, run_id)
    since = {name: (marks["moving"] - at) * 1000 for name, at in marks.items()}
    return Again(left, load, since["claim"], since["process"])


async def _load(folder: Path, base: str, size: int) -> tuple[int, float]:
    """How many items are left, and the milliseconds until the machine knows what to do next."""
    async with built_app(settings(folder, base), role=Role.STARTER) as app:
        run_id = await _run_id(app)
        done = await app.store.count_completed(run_id)
        run = await app.store.load_run(run_id)
        assert run is not None
        definition = await app.catalog.definition_of(run.definition_id)
        begun = time.perf_counter()
        machine = Machine(definition, run, await load_records(app.store, run, definition), variables=definition.vars)
        machine.begin(utc_now())
        machine.pump(utc_now(), 1)
        return size - done, (time.perf_counter() - begun) * 1000


async def _run(app: App, size: int) -> None:
    """From its start to its end."""
    view = await app.runs.start("big", {"size": size, "items": list(range(size))}, actor="bench")
    await _finished(app, view.run_id)


async def _run_id(app: App) -> str:
    """Of the only run there is."""
    return (await app.runs.list(RunQuery(status="any"))).runs[0].run_id


async def _finished(app: App, run_id: str) -> None:
    view = await app.runs.wait(run_id, actor="bench", seconds=600)
    assert view.status is RunStatus.COMPLETED, view


def _marking(marks: dict[str, float], name: str, verb: Callable[..., Coroutine[Any, Any, Any]]) -> Any:
    """Notes when ``verb`` is first called."""

    async def marked(*arguments: Any) -> Any:
        marks.setdefault(name, time.perf_counter())
        return await verb(*arguments)

    return marked


_MODES: Mapping[str, Callable[[Path, str, int], Coroutine[Any, Any, Any]]] = {
    "whole": whole,
    "killed": killed,
    "again": again,
}


# Here


def measure(kind: str, base: str, scale: float = 1.0) -> tuple[Whole, Again]:
    text, size = KINDS[kind]
    size = int(size * scale)
    with tempfile.TemporaryDirectory(prefix="mcp-workflows-bench-") as one, tempfile.TemporaryDirectory() as two:
        for name in (one, two):
            (Path(name) / "big.yaml").write_text(HEAD + (VARS if "http" in kind else "") + text, "utf-8")
        uninterrupted = Whole(**isolated("big_runs", "--process", "whole", one, base, size))
        isolated("big_runs", "--process", "killed", two, base, size, killed=True)
        return uninterrupted, Again(**isolated("big_runs", "--process", "again", two, base, size))


def run(scale: float = 1.0) -> dict[str, tuple[Whole, Again]]:
    """By kind."""
    with trivial_server() as base:
        return {kind: measure(kind, base, scale) for kind in KINDS}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.big_runs", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of steps")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--process", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.process:
        mode, folder, base, size = asked.process
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            json.dump(asdict(runner.run(_MODES[mode](Path(folder), base, int(size)))), sys.stdout)
        return
    figures = run(asked.scale)
    if asked.json:
        json.dump({kind: [asdict(one) for one in both] for kind, both in figures.items()}, sys.stdout)
    else:
        table(figures)


def table(figures: Mapping[str, tuple[Whole, Again]]) -> None:
    print(f"{'':<14}{'steps/s':>9}{'RSS':>6}{'peak, MiB':>11}{'left':>6}{'load':>7}{'claim':>7}{'process, ms':>13}")
    for kind, (one, two) in figures.items():
        print(f"{kind:<14}{one.steps_per_second:>9,.0f}{one.rss:>6,.0f}{one.peak:>11,.0f}", end="")
        print(f"{two.left:>6,}{two.load:>7,.0f}{two.claim:>7,.0f}{two.process:>13,.0f}")


if __name__ == "__main__":
    main()
