"""One node against three on one PostgreSQL, with the same cores and as many runs at a time in all.

``python -m benchmarks.nodes [--seconds 3] [--json]``. Each node is a process that starts runs of ten
functions and moves them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from benchmarks.databases import DATABASES
from benchmarks.isolated import isolated
from benchmarks.workload import STEPS

NODES = (1, 3)
RUNS = 96
"""At a time, of all nodes together."""
START_SECONDS = 6.0
"""For all of them to be there before they begin."""


@dataclass(frozen=True, slots=True)
class Figure:
    nodes: int
    steps_per_second: float
    cpu: float
    """Of all nodes, µs per step."""


def measure(nodes: int, url: str, seconds: float) -> Figure:
    begin_at = time.monotonic() + START_SECONDS
    asked = (url, "--concurrency", RUNS // nodes, "--seconds", seconds, "--begin-at", begin_at)
    with ThreadPoolExecutor(nodes) as threads:
        waiting = [threads.submit(isolated, "serving", *asked, seconds=120) for _ in range(nodes)]
        found = [one.result() for one in waiting]
    rate = sum(one["per_second"] for one in found)
    cpu = sum(one["cpu"] * one["per_second"] for one in found) / rate
    return Figure(nodes, rate * STEPS, cpu / STEPS)


def run(seconds: float = 3.0) -> list[Figure]:
    with DATABASES["postgres"]() as urls:
        return [measure(nodes, next(urls), seconds) for nodes in NODES]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nodes", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    figures = run(asked.seconds)
    if asked.json:
        json.dump([asdict(one) for one in figures], sys.stdout)
        return
    print(f"{'nodes':>6} {'steps/s':>9} {'CPU µs/step':>12}")
    for one in figures:
        print(f"{one.nodes:>6} {one.steps_per_second:>9,.0f} {one.cpu:>12.0f}")


if __name__ == "__main__":
    main()
