"""Steps per second of a ten-step workflow, through everything but the protocol: facade, engine, runtime, store, HTTP.

Every run is started by the facade that the MCP tools use and waited for until it is finished; the database is a SQLite
file with ``synchronous=FULL``. ``set`` steps only compute, so a run of them is one batch of records; each HTTP step is a POST
of JSON to a trivial server in another process, and is on disk before the next one is made.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks.trivial_server import trivial_server
from mcp_workflows.app import Role, built_app
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.runtime.runs import Runs
from mcp_workflows.settings import Settings

STEPS = 10
CONCURRENCIES = (1, 32, 256)

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


def definition(kind: str) -> str:
    """The YAML of the measured workflow."""
    lines = [HEAD.format(name=f"ten_{kind}", vars="" if kind == "set" else 'vars: {BASE: "http://127.0.0.1:1"}\n')]
    note = "x" * 120
    for number in range(STEPS):
        before = "${input.n}" if number == 0 else f"${{steps.s{number - 1}.output.{'n' if kind == 'set' else 'id'}}}"
        if kind == "set":
            work = f'set: {{n: "{before}", text: "step {number} of ${{run.id}}"}}'
        else:
            body = f'{{n: "{before}", plan: enterprise, note: "{note}"}}'
            work = f'http: {{method: POST, url: "${{vars.BASE}}/charges", json: {body}}}'
        lines.append(f"  - id: s{number}\n    {work}\n")
    return "".join(lines)


async def measure(kind: str, concurrency: int, seconds: float, base: str) -> Figure:
    """Keeps ``concurrency`` runs going for about ``seconds``."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "ten.yaml").write_text(definition(kind), "utf-8")
        settings = Settings.load(
            definitions=(folder / "ten.yaml",),
            database_url=f"sqlite:///{folder}/runs.db",
            vars={"BASE": base},
            max_attempts_per_host=1000,
        )
        async with built_app(settings, role=Role.SERVER) as app, app.moving():
            await load(app.runs, f"ten_{kind}", concurrency, min(seconds, 0.5))
            begun = time.perf_counter()
            latencies = await load(app.runs, f"ten_{kind}", concurrency, seconds)
            elapsed = time.perf_counter() - begun
    cuts = statistics.quantiles(latencies, n=100)
    return Figure(kind, concurrency, len(latencies) * STEPS / elapsed, cuts[49] * 1000, cuts[98] * 1000)


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


def run(seconds: float = 3.0) -> list[Figure]:
    """All figures, measured in this process on uvloop."""
    with trivial_server() as base, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return [
            runner.run(measure(kind, concurrency, seconds, base))
            for kind in ("set", "http")
            for concurrency in CONCURRENCIES
        ]
