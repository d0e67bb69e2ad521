"""``python -m benchmarks`` (``make bench``): the tables of ``docs/performance.md``, and the same as JSON.

Absolute figures say little on a machine that others use too: read the ratios, which are of one run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
from dataclasses import asdict
from importlib.metadata import version

from benchmarks import big_runs, flat_cost, group_commit, http_clients, many_waiting, ten_steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="per figure")
    options = parser.parse_args()
    commits = group_commit.run(options.seconds)
    on_postgres = group_commit.run(options.seconds, on="postgres")
    clients = http_clients.run(options.seconds)
    figures = ten_steps.run(options.seconds)
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    print(f"{machine}, synchronous=FULL, uvloop, aiohttp {version('aiohttp')}\n")
    print(f"{'':<44}" + "".join(f"{n:>12}" for n in ten_steps.CONCURRENCIES) + "   concurrent runs")
    _row("recording alone (group commit), steps/s", [commits[n].steps_per_second for n in ten_steps.CONCURRENCIES])
    _row("the same on PostgreSQL, steps/s", [on_postgres[n].steps_per_second for n in ten_steps.CONCURRENCIES])
    for name in ("aiohttp", "httpx2"):
        _row(f"bare {name}, requests/s", [clients[name][n] for n in ten_steps.CONCURRENCIES])
    for kind in ("set", "http"):
        of_kind = [figure for figure in figures if figure.kind == kind]
        _row(f"10 {kind} steps, steps/s", [figure.steps_per_second for figure in of_kind])
        _row("  p50 of a run, ms", [figure.p50 for figure in of_kind], 1)
        _row("  p99 of a run, ms", [figure.p99 for figure in of_kind], 1)
    rates = {(figure.kind, figure.concurrency): figure.steps_per_second for figure in figures}
    print()
    _ratio(
        "set steps / recording alone", [rates["set", n] / commits[n].steps_per_second for n in ten_steps.CONCURRENCIES]
    )
    for name in ("aiohttp", "httpx2"):
        _ratio(f"http steps / bare {name}", [rates["http", n] / clients[name][n] for n in ten_steps.CONCURRENCIES])
    print()
    deciding = flat_cost.run()
    flat_cost.table(deciding)
    print()
    big = big_runs.run()
    big_runs.table(big)
    print()
    waiting = many_waiting.run(seconds=options.seconds)
    many_waiting.table(waiting)
    print()
    found = {
        "machine": machine,
        "recording": {n: asdict(figure) for n, figure in commits.items()},
        "recording_on_postgres": {n: asdict(figure) for n, figure in on_postgres.items()},
        "clients": clients,
        "ten_steps": [asdict(figure) for figure in figures],
        "deciding": [asdict(figure) for figure in deciding],
        "big_runs": {kind: [asdict(figure) for figure in both] for kind, both in big.items()},
        "many_waiting": asdict(waiting),
    }
    print(json.dumps(found))


def _row(name: str, values: list[float], digits: int = 0) -> None:
    print(f"{name:<44}" + "".join(f"{value:>12,.{digits}f}" for value in values))


def _ratio(name: str, values: list[float]) -> None:
    print(f"{name:<44}" + "".join(f"{value:>12.2f}" for value in values))


if __name__ == "__main__":
    main()
