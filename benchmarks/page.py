"""``docs/performance.md``: its measured part, as the command writes it from what it found. The rest is written by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.goals import DATABASES, KINDS, Verdict, verdicts
from benchmarks.pace import CONCURRENCIES
from benchmarks.results import Figure, Results

PAGE = Path("docs/performance.md")
KEPT = Path("docs/performance.json")
"""The results that the page was written from."""
BEGIN = "<!-- measured: `make bench` writes what stands from here -->"
END = "<!-- measured: to here -->"

Row = Sequence[object]


def write(results: Results, page: Path = PAGE) -> None:
    """Puts the measured part in the place of the one that is there."""
    before, _, after = measured(page.read_text("utf-8"))
    page.write_text(f"{before}{render(results)}{after}", "utf-8")


def measured(text: str) -> tuple[str, str, str]:
    """What stands before the measured part, that part, and what comes after it."""
    head, begin, rest = text.partition(BEGIN)
    part, end, tail = rest.partition(END)
    assert begin, "the page has no measured part"
    assert end, "the measured part of the page has no end"
    return head + begin, part, end + tail


def render(results: Results) -> str:
    parts = [
        _machine(results),
        *_failures(results),
        _goals(results),
        _ten_steps(results),
        _ceilings(results),
        _tool_calls(results),
        _scale(results),
        _growing(results),
    ]
    return "\n\n" + "\n\n".join(parts) + "\n\n"


def _table(head: Row, rows: Sequence[Row]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _number(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"  # noqa: RUF001


def _machine(results: Results) -> str:
    return _table(["measured on", ""], list(results.machine.items()))


def _failures(results: Results) -> Iterator[str]:
    for name, why in results.failed.items():
        yield f"**Not measured: `{name}`.** " + " ".join(why.split())


def _goals(results: Results) -> str:
    found = verdicts(results)
    reached = sum(one.reached is True for one in found)
    words = {True: "reached", False: "**not reached**", None: "not measured"}
    rows = [[one.goal, _wanted(one), _found(one), words[one.reached]] for one in found]
    return f"## Goals\n\n{reached} of {len(found)} reached in this run.\n\n" + _table(
        ["", "goal", "found", ""], rows
    )  # fmt: skip


def _wanted(one: Verdict) -> str:
    return f"{'≥' if one.at_least else '≤'} {one.wanted:g}{one.unit}"


def _found(one: Verdict) -> str:
    return "–" if one.found is None else f"{_number(one.found, 2 if abs(one.found) < 10 else 0)}{one.unit}"  # noqa: RUF001


def _rates(name: str, rate: Callable[[int], float | None]) -> Row:
    return [name, *(_number(rate(concurrency)) for concurrency in CONCURRENCIES)]


def _ten_steps(results: Results) -> str:
    rows: list[Row] = []
    for database, name in DATABASES.items():
        for kind, written in KINDS.items():
            rows.append(_rates(f"{written} steps, {name}", _of(results, f"ours_{database}", kind)))
    for database, name in DATABASES.items():
        for kind, written in (("threads", "functions"), ("async", "coroutines"), ("http", "with HTTP")):
            rows.append(_rates(f"DBOS, {written}, {name}", _of(results, f"dbos_{database}", kind)))
    rows.append(_rates("Restate", _of(results, "restate", "compute")))
    rows.append(_rates("Restate, with HTTP", _of(results, "restate", "http")))
    text = "## Ten steps: steps per second, by runs at a time\n\n" + _table(["", *CONCURRENCIES], rows)
    return f"{text}\n\n{_latencies(results)}"


def _of(results: Results, section: str, kind: str) -> Callable[[int], float | None]:
    return lambda concurrency: results.steps(section, kind, concurrency)


def _latencies(results: Results) -> str:
    rows: list[Row] = []
    for database, name in DATABASES.items():
        for kind, written in KINDS.items():
            for concurrency in CONCURRENCIES:
                figure = results.one(f"ours_{database}", kind=kind, concurrency=concurrency)
                if figure is not None:
                    shown = [_number(figure[field], 1) for field in ("p50", "p99", "step_p99")]
                    rows.append([f"{written}, {name}", concurrency, *shown, _number(figure["cpu"])])
    head = ["ours", "runs at a time", "p50 of a run, ms", "p99", "p99 of a step, ms", "CPU of a step, µs"]
    return _table(head, rows)


def _ceilings(results: Results) -> str:
    def recording(database: str) -> Callable[[int], float | None]:
        def rate(concurrency: int) -> float | None:
            figure = results.one("recording", database=database, concurrency=concurrency)
            return None if figure is None else figure["steps_per_second"]

        return rate

    rows = [
        _rates("recording alone, SQLite, steps/s", recording("sqlite")),
        _rates("recording alone, PostgreSQL, steps/s", recording("postgresql")),
        _rates("bare aiohttp, requests/s", lambda concurrency: results.client("aiohttp", concurrency)),
        _rates("bare httpx2, requests/s", lambda concurrency: results.client("httpx2", concurrency)),
    ]
    return "## Bare ceilings, by so many at a time\n\n" + _table(["", *CONCURRENCIES], rows)


def _tool_calls(results: Results) -> str:
    figures: Sequence[Figure] = results.found.get("calls", ())
    rows = [
        [
            one["transport"],
            one["concurrency"],
            _number(one["bare_per_second"]),
            _number(one["ours_per_second"]),
            _number(one["bare_p50"], 1),
            _number(one["ours_p50"], 1),
        ]
        for one in figures
    ]
    head = ["transport", "calls at a time", "bare, calls/s", "a run of one step, calls/s", "bare p50, ms", "p50, ms"]
    return "## Tool calls\n\n" + _table(head, rows)


def _scale(results: Results) -> str:
    rows: list[Row] = []
    for one in results.found.get("nodes", ()):
        nodes = f"{one['nodes']} node{'s' if one['nodes'] > 1 else ''} on one PostgreSQL, 96 runs at a time"
        rows.append([nodes, f"{_number(one['steps_per_second'])} steps/s, {_number(one['cpu'])} µs of CPU a step"])
    waiting = results.found.get("waiting")
    if waiting is not None:
        beside = f"{_number(waiting['memory'], 1)} MiB, other runs at {waiting['pace']:.0%} of their pace"
        rows.append([f"{waiting['waiting']:,} waiting runs", beside])
    for database, name in DATABASES.items():
        one = results.one(f"recovery_{database}", database=database)
        if one is not None:
            text = f"first after {_number(one['first_step'], 2)} s, all after {_number(one['all_moving'], 1)} s"
            rows.append(
                [f"{one['runs']:,} interrupted runs go on, {name}", f"{text}, {_number(one['memory'])} MiB at most"]
            )
    for database, name in DATABASES.items():
        one = results.one(f"full_{database}", database=database)
        if one is not None:
            text = f"{_number(one['full_per_second'])} steps/s, {_number(one['empty_per_second'])} in an empty one"
            rows.append([f"{one['rows']:,} finished step rows, {name}", text])
    return "## Scale\n\n" + _table(["", ""], rows)


def _growing(results: Results) -> str:
    figures: Sequence[Figure] = results.found.get("deciding", ())
    marks = sorted({one["completed"] for one in figures})
    rows: list[Row] = []
    for kind in ("repeat", "for_each"):
        of_kind = [_number(one["microseconds"], 1) for one in figures if one["kind"] == kind]
        rows.append([f"deciding in a `{kind}`, µs an event", *of_kind])
    deciding = _table(["completed steps of the run", *(f"{mark:,}" for mark in marks)], rows)
    head = ["run", "steps/s", "memory before", "highest", "left", "load", "from the claim", "from the start"]
    big = [
        [
            kind,
            _number(whole["steps_per_second"]),
            f"{_number(whole['rss'])} MiB",
            f"{_number(whole['peak'])} MiB",
            again["left"],
            *(f"{_number(again[field])} ms" for field in ("load", "claim", "process")),
        ]
        for kind, (whole, again) in results.found.get("big", {}).items()
    ]
    return f"## A run as it grows\n\n{deciding}\n\n{_table(head, big)}"
