"""What deciding costs as a run grows: the machine alone, from "an attempt ended" to "this is recorded, that is next".

``python -m benchmarks.flat_cost``. No store and no attempts: every attempt ends at once, and as asked. Processor time is
counted, so that other processes on the machine disturb little.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import deque
from collections.abc import Generator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from mcp_workflows.definition.expressions import Template
from mcp_workflows.definition.program import Definition, ForEachWork, HttpWork, RepeatWork, Step
from mcp_workflows.engine.machine import Machine
from mcp_workflows.engine.moves import started
from mcp_workflows.engine.outcome import Completed, StepCall
from mcp_workflows.engine.records import Run

MARKS = (100, 10_000, 100_000)
"""Completed steps at which it is looked."""
KINDS = ("repeat", "for_each")
WINDOW = 2_000
"""Events that one figure is the mean of."""
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Figure:
    """Microseconds for each event around ``completed`` steps of one run."""

    kind: str
    completed: int
    microseconds: float


def definition(kind: str, size: int) -> Definition:
    """One block of one HTTP step, ``size`` times."""
    steps = (Step("charge", "http", HttpWork("POST", Template.of("https://api.example.com/charges")), id="charge"),)
    if kind == "repeat":
        block = Step("each", kind, RepeatWork(steps, max_iterations=size), id="each")
    else:
        items = [{"number": number} for number in range(size)]
        block = Step("each", kind, ForEachWork(Template.of(items), steps, concurrency=10), id="each")
    return Definition("grows", None, "", "", "", {}, None, {}, (), (block,), None)


def events(kind: str, size: int) -> Generator[None]:
    """Drives one run; every ``next`` is one attempt that ends, and all that is decided because of it."""
    defined = definition(kind, size)
    machine = Machine(defined, Run("r", "grows", 1, 1, {}, "bench", NOW, started(defined, NOW)), (), variables={})
    machine.begin(NOW)
    calls: deque[StepCall] = deque()
    answer = Completed({"status": 200, "headers": {}, "body": {"id": "ch_81", "amount": 1200}})
    while True:
        decisions = machine.pump(NOW)
        calls.extend(decisions.attempts)
        if machine.record.status.finished:
            return
        if not decisions.more:
            yield
            machine.attempt_ended(calls.popleft(), answer, NOW, NOW)


def measure(kind: str, completed: int) -> Figure:
    """Around the start of a run too few events happen for one figure, so several runs are begun."""
    window = min(WINDOW, completed)
    spent = counted = 0
    while counted < WINDOW:
        run = events(kind, max(MARKS))
        for _ in range(completed - window + 1):
            next(run)
        begun = time.thread_time_ns()
        counted += sum(1 for _ in zip(range(window), run, strict=False))
        spent += time.thread_time_ns() - begun
    return Figure(kind, completed, spent / counted / 1000)


def run() -> list[Figure]:
    return [measure(kind, completed) for kind in KINDS for completed in MARKS]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flat_cost", description=__doc__)
    parser.add_argument("--json", action="store_true")
    figures = run()
    if parser.parse_args().json:
        json.dump([asdict(one) for one in figures], sys.stdout)
    else:
        table(figures)


def table(figures: list[Figure]) -> None:
    print(f"{'µs to decide, after completed steps':<44}" + "".join(f"{mark:>12,}" for mark in MARKS))
    for kind in KINDS:
        of_kind = [figure.microseconds for figure in figures if figure.kind == kind]
        print(f"{kind:<44}" + "".join(f"{value:>12.1f}" for value in of_kind))


if __name__ == "__main__":
    main()
