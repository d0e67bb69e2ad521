"""The workflow that every engine is measured with: ten steps, each of which reads what the one before it gave.

A step without I/O gives back a number and a short text. A step with I/O is a POST of about 200 bytes of JSON to a trivial
server in another process, made with aiohttp by everybody.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

import aiohttp

from benchmarks.pace import Pace

STEPS = 10
NOTE = "x" * 120


@dataclass(frozen=True, slots=True)
class Figure:
    """Of one engine at one kind of step. Latencies are of whole runs, in ms; ``cpu`` in µs of the measured process per step.

    ``step_p99``: of a step, from when the run could go on until it was recorded; where the engine tells.
    """

    engine: str
    database: str
    kind: str
    concurrency: int
    steps_per_second: float
    p50: float
    p99: float
    cpu: float
    step_p99: float | None = None

    @classmethod
    def of(
        cls, engine: str, database: str, kind: str, concurrency: int, runs: Pace, step_p99: float | None = None
    ) -> Figure:
        rate = runs.per_second * STEPS
        return cls(engine, database, kind, concurrency, rate, runs.p50, runs.p99, runs.cpu / STEPS, step_p99)


def computed(number: int, step: int, run_id: str) -> dict[str, Any]:
    """What a step without I/O gives."""
    return {"n": number, "text": f"step {step} of {run_id}"}


def posted(number: int | str) -> dict[str, Any]:
    """What a step with I/O sends."""
    return {"n": number, "plan": "enterprise", "note": NOTE}


@asynccontextmanager
async def session() -> AsyncGenerator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        yield client


async def post(client: aiohttp.ClientSession, base: str, number: int | str) -> dict[str, Any]:
    async with client.post(f"{base}/charges", json=posted(number)) as response:
        response.raise_for_status()
        return await response.json()


def tell(figures: Sequence[Figure], *, as_json: bool) -> None:
    """On stdout, for a person or for the command that measures everything."""
    if as_json:
        json.dump([asdict(one) for one in figures], sys.stdout)
        return
    print(
        f"{'engine':<14} {'database':<9} {'steps':<8} {'runs at a time':>14} {'steps/s':>9} {'CPU µs/step':>12} "
        f"{'p50 of a run, ms':>17} {'p99':>8} {'p99 of a step':>14}"
    )
    for one in figures:
        step = "" if one.step_p99 is None else f"{one.step_p99:.1f}"
        print(
            f"{one.engine:<14} {one.database:<9} {one.kind:<8} {one.concurrency:>14} {one.steps_per_second:>9,.0f} "
            f"{one.cpu:>12.0f} {one.p50:>17.1f} {one.p99:>8.1f} {step:>14}"
        )
