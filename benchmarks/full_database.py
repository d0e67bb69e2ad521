"""What a step costs in a database with ten million finished step rows, against an empty one.

``python -m benchmarks.full_database [--rows 10000000] [--on sqlite postgres] [--rounds 5] [--json]``. One finished run of ten
functions is multiplied inside the database, which then is as large as if they had all run. The two databases take turns,
each round in a process of its own; the median round counts.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import sys
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg
from sqlalchemy.engine import make_url

from benchmarks.databases import DATABASES
from benchmarks.isolated import isolated
from benchmarks.workload import STEPS
from mcp_workflows.store import tables
from mcp_workflows.store.postgres import Postgres

ROWS = 10_000_000
ROUNDS = 5
CONCURRENCY = 32
FIRST_KEY = 1_000_000
"""Of the runs that are made; those of the rounds come after them."""


@dataclass(frozen=True, slots=True)
class Figure:
    """Steps per second, and µs of the node's processor time per step; ``fill`` in seconds."""

    database: str
    rows: int
    fill: float
    empty_per_second: float
    full_per_second: float
    empty_cpu: float
    full_cpu: float

    @property
    def cost(self) -> float:
        """Of a step in the full database, in that of the empty one."""
        return self.empty_per_second / self.full_per_second


def _multiplying(series: str) -> list[str]:
    """Run 1, and its steps, once for each ``n`` of ``series``."""
    runs = [one.name for one in tables.run.columns]
    steps = [one.name for one in tables.step.columns]
    new_run = {"key": f"{FIRST_KEY} + n", "run_id": "'r_' || CAST(100000000000 + n AS TEXT)"}
    of_runs = ", ".join(new_run.get(name, f"run.{name}") for name in runs)
    of_steps = ", ".join(f"{FIRST_KEY} + n" if name == "run" else f"step.{name}" for name in steps)
    finished = "(SELECT min(key) FROM run WHERE status = 'completed')"
    return [
        f"INSERT INTO run ({', '.join(runs)}) SELECT {of_runs} FROM {series} CROSS JOIN run WHERE run.key = {finished}",
        f"INSERT INTO step ({', '.join(steps)}) SELECT {of_steps} FROM {series} CROSS JOIN step WHERE step.run = {finished}",
    ]


def _fill_sqlite(url: str, runs: int) -> None:
    path = make_url(url).database
    assert path is not None
    series = f"(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {runs}) SELECT n FROM s) AS s"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -262144")
        for statement in _multiplying(series):
            connection.execute(statement)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    with Path(path).open("rb+") as file:  # it counts as written, not as still to be written beside the rounds
        os.fsync(file.fileno())


def _fill_postgres(url: str, runs: int) -> None:
    with psycopg.connect(Postgres(make_url(url)).conninfo, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        connection.execute("SET session_replication_role = replica")  # the rows refer to one another as they should
        for statement in _multiplying(f"generate_series(1, {runs}) AS s(n)"):
            connection.execute(statement.encode())
        connection.execute(f"SELECT setval(pg_get_serial_sequence('run', 'key'), {FIRST_KEY + runs + 1})".encode())
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


FILL = {"sqlite": _fill_sqlite, "postgres": _fill_postgres}


def run(on: str, rows: int = ROWS, rounds: int = ROUNDS, seconds: float = 2.0) -> Figure:
    with DATABASES[on]() as urls:
        empty, full = next(urls), next(urls)
        for url in (empty, full):
            _round(url, 0.1)  # makes the tables, and runs to multiply
        began = time.monotonic()
        FILL[on](full, rows // STEPS)
        fill = time.monotonic() - began
        found = [(_round(empty, seconds), _round(full, seconds)) for _ in range(rounds)]
    rates = [statistics.median(pair[which][0] for pair in found) for which in (0, 1)]
    cpu = [statistics.median(pair[which][1] for pair in found) for which in (0, 1)]
    return Figure(on, rows, fill, rates[0], rates[1], cpu[0], cpu[1])


def _round(url: str, seconds: float) -> tuple[float, float]:
    """Steps per second, and the processor time of one."""
    found = isolated("serving", url, "--concurrency", CONCURRENCY, "--seconds", seconds, seconds=120)
    return found["per_second"] * STEPS, found["cpu"] / STEPS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.full_database", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each round, and database")
    parser.add_argument("--on", nargs="+", choices=DATABASES, default=list(DATABASES))
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    figures = [run(on, asked.rows, asked.rounds, asked.seconds) for on in asked.on]
    if asked.json:
        json.dump([asdict(one) for one in figures], sys.stdout)
        return
    print(
        f"{'database':<10}{'rows':>12}{'filled in, s':>14}{'empty, steps/s':>16}{'full':>9}{'cost':>7}{'CPU µs':>9}{'full':>7}"
    )
    for one in figures:
        print(
            f"{one.database:<10}{one.rows:>12,}{one.fill:>14.0f}{one.empty_per_second:>16,.0f}{one.full_per_second:>9,.0f}"
            f"{one.cost:>7.2f}{one.empty_cpu:>9.0f}{one.full_cpu:>7.0f}"
        )


if __name__ == "__main__":
    main()
