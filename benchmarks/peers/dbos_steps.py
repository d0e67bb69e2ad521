"""DBOS Transact at the ten-step workflow: ``python -m benchmarks.peers.dbos_steps [--on sqlite|postgres] [--json]``.

A workflow function whose steps are step functions, started in the background and waited for by its handle, in the process
that measures; the system database is a SQLite file or a PostgreSQL server, both as DBOS sets them up. Of the forms that its
documentation shows, two are measured, ``threads`` (plain functions, ``DBOS.start_workflow``) and ``async`` (coroutines, called
as such); a queue only adds a poll to either. Which of them is faster without I/O depends on the machine, so both are told.
With I/O it is ``async``, whose steps can share one HTTP session.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
import uvloop
from dbos import DBOS

from benchmarks.databases import DATABASES
from benchmarks.pace import CONCURRENCIES, warmed_pace
from benchmarks.trivial_server import trivial_server
from benchmarks.workload import STEPS, Figure, computed, post, session, tell

_POLL_SECONDS = 0.005
"""How often a handle looks whether its workflow has ended, where it is not told."""


class _Client:
    """What the steps that post have in common."""

    base: str
    session: aiohttp.ClientSession


@DBOS.step()
def compute(number: int, step: int, run_id: str) -> dict[str, Any]:
    return computed(number, step, run_id)


@DBOS.step()
async def compute_async(number: int, step: int, run_id: str) -> dict[str, Any]:
    return computed(number, step, run_id)


@DBOS.step()
async def charge(number: int | str) -> dict[str, Any]:
    return await post(_Client.session, _Client.base, number)


@DBOS.workflow()
def ten_threads(number: int) -> dict[str, Any]:
    run_id = DBOS.workflow_id or ""
    last: dict[str, Any] = {"n": number}
    for step in range(STEPS):
        last = compute(last["n"], step, run_id)
    return last


@DBOS.workflow()
async def ten_async(number: int) -> dict[str, Any]:
    run_id = DBOS.workflow_id or ""
    last: dict[str, Any] = {"n": number}
    for step in range(STEPS):
        last = await compute_async(last["n"], step, run_id)
    return last


@DBOS.workflow()
async def ten_http(number: int) -> dict[str, Any]:
    last: dict[str, Any] = {"id": number}
    for _ in range(STEPS):
        last = await charge(last["id"])
    return last


async def _by_thread() -> object:
    def run() -> object:
        return DBOS.start_workflow(ten_threads, 1).get_result(polling_interval_sec=_POLL_SECONDS)

    return await asyncio.to_thread(run)


async def _by_coroutine() -> object:
    return await ten_async(1)


async def _by_requests() -> object:
    return await ten_http(1)


ONE_RUN: dict[str, Callable[[], Awaitable[object]]] = {
    "threads": _by_thread,
    "async": _by_coroutine,
    "http": _by_requests,
}


async def measure(on: str, url: str, base: str, concurrencies: Sequence[int], seconds: float) -> list[Figure]:
    loop = asyncio.get_running_loop()
    DBOS(config={"name": "bench", "system_database_url": url, "log_level": "ERROR"})
    DBOS.launch()
    figures: list[Figure] = []
    with ThreadPoolExecutor(max(concurrencies)) as threads:
        loop.set_default_executor(threads)  # one for each run that is waited for
        async with session() as client:
            _Client.base, _Client.session = base, client
            for kind, one in ONE_RUN.items():
                for concurrency in concurrencies:
                    found = await warmed_pace(one, concurrency, seconds)
                    figures.append(Figure.of("DBOS", on, kind, concurrency, found))
        await asyncio.to_thread(DBOS.destroy)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.dbos_steps", description=__doc__)
    parser.add_argument("--on", choices=DATABASES, default="sqlite")
    parser.add_argument("--concurrency", type=int, nargs="+", default=CONCURRENCIES)
    parser.add_argument("--seconds", type=float, default=3.0, help="per figure")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with trivial_server() as base, DATABASES[asked.on]() as urls:
        figures = uvloop.run(measure(asked.on, next(urls), base, asked.concurrency, asked.seconds))
    tell(figures, as_json=asked.json)


if __name__ == "__main__":
    main()
