"""Steps per second of a ten-step workflow, through everything but the protocol: facade, engine, runtime, store, HTTP.

``python -m benchmarks.ten_steps [--kind set http async sync] [--concurrency 1 32 256] [--on sqlite postgres] [--seconds 3]
[--profile FILE]``. Every run is started by the facade that the MCP tools use and waited for until it is finished; the
database is a SQLite file with ``synchronous=FULL``, or a PostgreSQL of its own with the server's defaults. ``set`` steps only
compute, so a run of them is one batch of records; each HTTP step is a POST of JSON to a trivial server in another process,
``async`` and ``sync`` are functions of Python that give back what they get, and each of these steps is on disk before the
next one is made. Beside the rate stands the processor time of this process per step, which tells more on a machine that has
other things to do.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks.databases import DATABASES
from benchmarks.trivial_server import trivial_server
from mcp_workflows.app import Role, built_app, spare_collector
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.runtime.runs import Runs
from mcp_workflows.settings import Settings

STEPS = 10
CONCURRENCIES = (1, 32, 256)
KINDS = ("set", "http", "async", "sync")

HEAD = """
name: {name}
description: Ten steps, each of which reads what the one before it gave.
input: {{required: [n], properties: {{n: {{type: integer}}}}}}
{vars}mcp: {{wait: 0s, join: "off"}}
on_failure: fail
steps:
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. Latencies are of whole runs, in milliseconds."""

    kind: str
    concurrency: int
    steps_per_second: float
    p50: float
    p99: float
    cpu_us_per_step: float
    """Of this process, all its threads."""


def definition(kind: str) -> str:
    """The YAML of the measured workflow."""
    lines = [HEAD.format(name=f"ten_{kind}", vars="" if kind == "set" else 'vars: {BASE: "http://127.0.0.1:1"}\n')]
    note = "x" * 120
    for number in range(STEPS):
        before = "${input.n}" if number == 0 else f"${{steps.s{number - 1}.output.{'id' if kind == 'http' else 'n'}}}"
        if kind == "set":
            work = f'set: {{n: "{before}", text: "step {number} of ${{run.id}}"}}'
        elif kind in ("async", "sync"):
            work = f'python: {{call: {kind}_echo, args: {{n: "{before}"}}}}'
        else:
            body = f'{{n: "{before}", plan: enterprise, note: "{note}"}}'
            work = f'http: {{method: POST, url: "${{vars.BASE}}/charges", json: {body}}}'
        lines.append(f"  - id: s{number}\n    {work}\n")
    return "".join(lines)


async def measure(
    kind: str, concurrency: int, seconds: float, base: str, url: str, profile: cProfile.Profile | None = None
) -> Figure:
    """Keeps ``concurrency`` runs going for about ``seconds``, in the empty database at ``url``."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "ten.yaml").write_text(definition(kind), "utf-8")
        settings = Settings.load(
            definitions=(folder / "ten.yaml",),
            database_url=url,
            vars={"BASE": base},
            functions=("benchmarks.functions",),
            max_attempts_per_host=1000,
        )
        async with built_app(settings, role=Role.SERVER) as app, app.moving():
            await load(app.runs, f"ten_{kind}", concurrency, min(seconds, 0.5))
            begun, used = time.perf_counter(), time.process_time()
            if profile is not None:
                profile.enable()
            latencies = await load(app.runs, f"ten_{kind}", concurrency, seconds)
            if profile is not None:
                profile.disable()
            elapsed, used = time.perf_counter() - begun, time.process_time() - used
    cuts = statistics.quantiles(latencies, n=100)
    steps = len(latencies) * STEPS
    return Figure(kind, concurrency, steps / elapsed, cuts[49] * 1000, cuts[98] * 1000, used / steps * 1e6)


async def load(runs: Runs, workflow: str, concurrency: int, seconds: float) -> list[float]:
    """The duration of each run that was started within ``seconds``."""
    latencies: list[float] = []
    end = time.perf_counter() + seconds

    async def one_after_the_other(number: int) -> None:
        while (begun := time.perf_counter()) < end:
            view = await runs.start(workflow, {"n": number}, actor="bench")
            if not view.status.finished:
                view = await runs.wait(view.run_id, actor="bench", seconds=60)
            assert view.status is RunStatus.COMPLETED, view
            latencies.append(time.perf_counter() - begun)

    await asyncio.gather(*(one_after_the_other(number) for number in range(concurrency)))
    return latencies


def run(
    seconds: float = 3.0,
    *,
    kinds: Sequence[str] = ("set", "http"),
    concurrencies: Sequence[int] = CONCURRENCIES,
    on: str = "sqlite",
    profile: cProfile.Profile | None = None,
) -> list[Figure]:
    """All figures, measured in this process on uvloop, set up as a server is."""
    spare_collector()
    with (
        trivial_server() as base,
        DATABASES[on]() as urls,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        return [
            runner.run(measure(kind, concurrency, seconds, base, next(urls), profile))
            for kind in kinds
            for concurrency in concurrencies
        ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ten_steps", description=__doc__)
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--concurrency", type=int, nargs="+", default=CONCURRENCIES)
    parser.add_argument("--on", choices=DATABASES, default="sqlite")
    parser.add_argument("--seconds", type=float, default=3.0, help="per figure")
    parser.add_argument("--profile", type=Path, help="where to keep what cProfile saw of the event loop's thread")
    asked = parser.parse_args()
    profile = cProfile.Profile() if asked.profile else None
    figures = run(asked.seconds, kinds=asked.kind, concurrencies=asked.concurrency, on=asked.on, profile=profile)
    print(
        f"{'steps':<8} {'runs at a time':>14} {'steps/s':>10} {'CPU µs/step':>12} {'p50 of a run, ms':>18} {'p99':>8}"
    )
    for one in figures:
        print(
            f"{one.kind:<8} {one.concurrency:>14} {one.steps_per_second:>10,.0f} {one.cpu_us_per_step:>12.0f} "
            f"{one.p50:>18.1f} {one.p99:>8.1f}"
        )
    if profile is not None:
        profile.dump_stats(asked.profile)


if __name__ == "__main__":
    main()
