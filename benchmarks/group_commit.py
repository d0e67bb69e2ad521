"""Recording alone: steps per second of runs that record one step after the other, at several concurrencies.

``python -m benchmarks.group_commit [--on sqlite postgres] [--concurrency 1 32 256] [--seconds 3] [--bytes 300] [--json]``,
on SQLite with ``synchronous=FULL`` and on a PostgreSQL of its own with the server's defaults, on the same disk. No engine and
no work: what remains is encoding, the queue, the commit, and the way back.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import uvloop

from benchmarks.databases import DATABASES
from benchmarks.pace import CONCURRENCIES, percentiles
from benchmarks.workload import STEPS
from mcp_workflows.clock import new_id, utc_now
from mcp_workflows.definition.program import Definition
from mcp_workflows.engine.records import RunRecord, StepRecord, Turn
from mcp_workflows.engine.states import RunStatus, StepStatus
from mcp_workflows.store import NewRun, Store

DEFINITION = Definition("recorded", None, "Recorded by hand.", "{}", "digest", {}, None, {}, (), (), None)


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one concurrency. Latencies are of one ``record`` call."""

    database: str
    concurrency: int
    steps_per_second: float
    p50_ms: float
    p99_ms: float


async def measure(concurrency: int, url: str, *, seconds: float, output_bytes: int) -> Figures:
    """Records ten-step runs, ``concurrency`` of them at a time, for ``seconds``."""
    latencies: list[float] = []
    async with Store.open(url, clock=utc_now, node_name="bench") as store:
        definition_id, version = await store.define(DEFINITION)
        until = time.perf_counter() + seconds
        began = time.perf_counter()

        async def one_after_another() -> None:
            while time.perf_counter() < until:
                await _record_run(store, definition_id, version, output_bytes, latencies)

        await asyncio.gather(*(one_after_another() for _ in range(concurrency)))
        took = time.perf_counter() - began
    return Figures(
        url.partition(":")[0].partition("+")[0],
        concurrency,
        len(latencies) / took,
        *percentiles(latencies),
    )


async def _record_run(
    store: Store, definition_id: int, version: int, output_bytes: int, latencies: list[float]
) -> None:
    now = utc_now()
    begun = RunRecord(RunStatus.RUNNING, started_at=now)
    new = NewRun(new_id("r_"), "recorded", version, definition_id, {"amount": 12}, "local", now, begun)
    await store.start(new)
    for number in range(STEPS):
        began = time.perf_counter()
        step = StepRecord(
            f"step{number}", number + 1, "http", StepStatus.COMPLETED, {"id": number, "note": "x" * output_bytes},
            started_at=now, finished_at=now,
        )  # fmt: skip
        last = number == STEPS - 1
        ended = RunRecord(RunStatus.COMPLETED, {"id": number}, started_at=now, finished_at=now) if last else None
        await store.record(Turn(new.run_id, [step], run=ended, release=last))
        latencies.append(time.perf_counter() - began)


async def measure_all(
    urls: Iterator[str], concurrencies: Sequence[int], *, seconds: float, output_bytes: int
) -> list[Figures]:
    """A fresh database for each concurrency."""
    return [await measure(one, next(urls), seconds=seconds, output_bytes=output_bytes) for one in concurrencies]


def run(
    seconds: float, *, concurrencies: Sequence[int] = CONCURRENCIES, output_bytes: int = 300, on: str = "sqlite"
) -> dict[int, Figures]:
    """By concurrency, on the event loop that a server uses."""
    with DATABASES[on]() as urls, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        figures = runner.run(measure_all(urls, concurrencies, seconds=seconds, output_bytes=output_bytes))
    return {one.concurrency: one for one in figures}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.group_commit", description=__doc__)
    parser.add_argument("--concurrency", type=int, nargs="+", default=CONCURRENCIES)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--bytes", type=int, default=300, help="of each step's output")
    parser.add_argument("--on", nargs="+", choices=DATABASES, default=list(DATABASES))
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    figures: list[Figures] = []
    for on in asked.on:
        figures += run(asked.seconds, concurrencies=asked.concurrency, output_bytes=asked.bytes, on=on).values()
    if asked.json:
        json.dump([asdict(one) for one in figures], sys.stdout)
        return
    print(f"{'database':<10} {'runs at a time':>14} {'steps/s':>10} {'p50 ms':>8} {'p99 ms':>8}")
    for one in figures:
        print(
            f"{one.database:<10} {one.concurrency:>14} {one.steps_per_second:>10,.0f} {one.p50_ms:>8.2f} {one.p99_ms:>8.2f}"
        )


if __name__ == "__main__":
    main()
