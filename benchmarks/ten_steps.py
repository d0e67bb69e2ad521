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
import cProfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from benchmarks.databases import DATABASES
from benchmarks.pace import CONCURRENCIES, Pace, pace, percentiles, warm_up
from benchmarks.trivial_server import trivial_server
from benchmarks.workload import STEPS, Figure, posted, tell
from mcp_workflows.app import Role, built_app, spare_collector
from mcp_workflows.engine.records import Turn
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.runtime.runs import Runs
from mcp_workflows.settings import Settings
from mcp_workflows.store import NewRun, StartResult, Store

ENGINE = "mcp-workflows"
KINDS = ("set", "http", "async", "sync")

HEAD = """
name: {name}
description: Ten steps, each of which reads what the one before it gave.
input: {{required: [n], properties: {{n: {{type: integer}}}}}}
{vars}mcp: {{wait: 0s, join: "off"}}
on_failure: fail
steps:
"""


def definition(kind: str) -> str:
    """The YAML of the measured workflow, ``ten_<kind>``."""
    lines = [HEAD.format(name=f"ten_{kind}", vars='vars: {BASE: "http://127.0.0.1:1"}\n' if kind == "http" else "")]
    for number in range(STEPS):
        before = "${input.n}" if number == 0 else f"${{steps.s{number - 1}.output.{'id' if kind == 'http' else 'n'}}}"
        if kind == "set":
            work = f'set: {{n: "{before}", text: "step {number} of ${{run.id}}"}}'
        elif kind in ("async", "sync"):
            work = f'python: {{call: {kind}_echo, args: {{n: "{before}"}}}}'
        else:
            body = ", ".join(f'{name}: "{value}"' for name, value in posted(before).items())
            work = f'http: {{method: POST, url: "${{vars.BASE}}/charges", json: {{{body}}}}}'
        lines.append(f"  - id: s{number}\n    {work}\n")
    return "".join(lines)


class StepTimes:
    """How long steps take: from when their run could go on until they are recorded, in seconds."""

    def __init__(self, store: Store) -> None:
        self.seconds: list[float] = []
        self._since: dict[str, float] = {}
        self._start, self._record = store.start, store.record
        store.start, store.record = self._started, self._recorded

    async def _started(self, new: NewRun, *, max_queued: int | None = None) -> StartResult:
        began = time.perf_counter()
        result = await self._start(new, max_queued=max_queued)
        now = time.perf_counter()
        if new.ended is None:
            self._since[new.run_id] = now
        else:  # it only computes, and is recorded with its end
            self.seconds += [now - began] * len(new.ended.steps)
        return result

    async def _recorded(self, turn: Turn) -> None:
        await self._record(turn)
        now = time.perf_counter()
        since = self._since.pop(turn.run_id)
        self.seconds += [now - since] * len(turn.steps)
        if not turn.release:
            self._since[turn.run_id] = now


async def one_run(runs: Runs, workflow: str) -> None:
    """From its start to its end."""
    view = await runs.start(workflow, {"n": 1}, actor="bench")
    if not view.status.finished:
        view = await runs.wait(view.run_id, actor="bench", seconds=60)
    assert view.status is RunStatus.COMPLETED, view


async def steps_per_second(runs: Runs, workflow: str, concurrency: int, seconds: float) -> float:
    return (await pace(lambda: one_run(runs, workflow), concurrency, seconds)).per_second * STEPS


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
            times = StepTimes(app.store)

            async def profiled() -> Pace:
                times.seconds.clear()
                if profile is None:
                    return await pace(one, concurrency, seconds)
                with profile:
                    return await pace(one, concurrency, seconds)

            async def one() -> None:
                await one_run(app.runs, f"ten_{kind}")

            await warm_up(one, concurrency, seconds)
            runs = await profiled()
    database = url.partition(":")[0].partition("+")[0].replace("postgresql", "postgres")
    return Figure.of(ENGINE, database, kind, concurrency, runs, percentiles(times.seconds)[1])


def run(
    seconds: float = 3.0,
    *,
    kinds: Sequence[str] = KINDS,
    concurrencies: Sequence[int] = CONCURRENCIES,
    on: str = "sqlite",
    profile: cProfile.Profile | None = None,
) -> list[Figure]:
    """All figures, measured in this process on uvloop, set up as a server is."""
    spare_collector()
    with trivial_server() as base, DATABASES[on]() as urls:
        return [
            uvloop.run(measure(kind, concurrency, seconds, base, next(urls), profile))
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
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    profile = cProfile.Profile() if asked.profile else None
    figures = run(asked.seconds, kinds=asked.kind, concurrencies=asked.concurrency, on=asked.on, profile=profile)
    tell(figures, as_json=asked.json)
    if profile is not None:
        profile.dump_stats(asked.profile)


if __name__ == "__main__":
    main()
