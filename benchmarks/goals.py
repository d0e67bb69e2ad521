"""What the product set out to reach, as ratios within one run, and whether it has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.results import Results

DATABASES = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
TIMES = "×"  # noqa: RUF001
KINDS = {"set": "`set`", "async": "`python`", "http": "`http`"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """``found`` is ``None`` where a part of it was not measured. ``unit``: what stands behind the numbers."""

    goal: str
    wanted: float
    found: float | None
    unit: str
    at_least: bool = True

    @property
    def reached(self) -> bool | None:
        if self.found is None:
            return None
        return self.found >= self.wanted if self.at_least else self.found <= self.wanted


def verdicts(results: Results) -> list[Verdict]:
    return [
        *_without_io(results),
        *_with_http(results),
        *_tool_calls(results),
        *_latency(results),
        *_scale(results),
    ]


def _ratio(one: float | None, other: float | None) -> float | None:
    return None if one is None or not other else one / other


def _without_io(results: Results) -> Iterator[Verdict]:
    """Of both kinds of step that need nothing from outside: a peer has but one."""
    dbos = {"sqlite": (4, 30, 30), "postgres": (4, 25, 25)}
    for database, wanted in dbos.items():
        for kind in ("set", "async"):
            for concurrency, factor in zip((1, 32, 256), wanted, strict=True):
                ours = results.steps(f"ours_{database}", kind, concurrency)
                found = _ratio(ours, results.peer(f"dbos_{database}", concurrency, http=False))
                yield Verdict(f"{KINDS[kind]} / DBOS, {DATABASES[database]}, at {concurrency}", factor, found, TIMES)
    for kind in ("set", "async"):
        for concurrency, factor in zip((1, 32, 256), (2.5, 5, 5), strict=True):
            ours = results.steps("ours_sqlite", kind, concurrency)
            found = _ratio(ours, results.peer("restate", concurrency, http=False))
            yield Verdict(f"{KINDS[kind]} (SQLite) / Restate, at {concurrency}", factor, found, TIMES)


def _with_http(results: Results) -> Iterator[Verdict]:
    for concurrency in (32, 256):
        for database, name in DATABASES.items():
            ours = results.steps(f"ours_{database}", "http", concurrency)
            found = _ratio(ours, results.peer(f"dbos_{database}", concurrency, http=True))
            yield Verdict(f"`http` / DBOS, {name}, at {concurrency}", 20, found, TIMES)
        ours = results.steps("ours_sqlite", "http", concurrency)
        found = _ratio(ours, results.peer("restate", concurrency, http=True))
        yield Verdict(f"`http` (SQLite) / Restate, at {concurrency}", 3.5, found, TIMES)
        found = _ratio(ours, results.client("httpx2", concurrency))
        yield Verdict(f"`http` steps (SQLite) / requests of bare httpx2, at {concurrency}", 2.5, found, TIMES)


def _tool_calls(results: Results) -> Iterator[Verdict]:
    for transport in ("in process", "stdio", "http"):
        many = results.one("calls", transport=transport, concurrency=32)
        alone = results.one("calls", transport=transport, concurrency=1)
        share = None if many is None else 100 * many["ours_per_second"] / many["bare_per_second"]
        above = None if alone is None else alone["ours_p50"] - alone["bare_p50"]
        yield Verdict(f"one-step tool calls / bare `tools/call`, {transport}, at 32", 60, share, " %")
        yield Verdict(f"their p50 above the bare call's, {transport}, at 1", 3, above, " ms", at_least=False)


def _latency(results: Results) -> Iterator[Verdict]:
    for database, name in DATABASES.items():
        for kind, written in KINDS.items():
            figure = results.one(f"ours_{database}", kind=kind, concurrency=256)
            found = None if figure is None else figure["step_p99"]
            yield Verdict(f"p99 of a {written} step, {name}, at 256", 100, found, " ms", at_least=False)


def _scale(results: Results) -> Iterator[Verdict]:
    waiting = results.found.get("waiting")
    memory = None if waiting is None else waiting["memory"]
    yield Verdict("memory that 100,000 waiting runs take", 10, memory, " MiB", at_least=False)
    for database, name in DATABASES.items():
        figure = results.one(f"recovery_{database}", database=database)
        runs = 10_000 if figure is None else figure["runs"]
        for field, which, wanted in (("first_step", "the first goes on", 1), ("all_moving", "all go on", 10)):
            found = None if figure is None else figure[field]
            yield Verdict(f"{runs:,} interrupted runs: {which}, {name}, after", wanted, found, " s", at_least=False)
    for database, name in DATABASES.items():
        figure = results.one(f"full_{database}", database=database)
        cost = None if figure is None else figure["empty_per_second"] / figure["full_per_second"]
        rows = 10_000_000 if figure is None else figure["rows"]
        yield Verdict(f"cost of a step beside {rows:,} finished step rows, {name}", 1.3, cost, TIMES, at_least=False)
