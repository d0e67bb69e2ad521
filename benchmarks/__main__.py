"""``python -m benchmarks`` (``make bench``): measures everything, and writes ``docs/performance.md`` from what it found.

Each section runs in a process of its own; one that fails or takes too long is told as such, on the page too, and what it had
started is ended. What is compared with one another is measured in rounds, in turns, and the median of each figure counts.
What is found is kept as it comes, in ``bench-results/results.json``. With ``--only``, or with less of anything, the page is
left alone unless ``--page`` asks for it.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import page
from benchmarks.full_database import ROWS
from benchmarks.goals import verdicts
from benchmarks.isolated import Failed, isolated
from benchmarks.machine import machine
from benchmarks.recovery import RUNS
from benchmarks.results import Results, middle
from benchmarks.sections import Section, sections

SECONDS = 1.0
ROUNDS = 3
PARTIAL = Path("bench-results/results.json")


def main() -> None:
    asked = _asked()
    chosen = [
        one for one in sections(asked.seconds, asked.rows, asked.runs) if not asked.only or one.name in asked.only
    ]
    told = machine() | {"command": "make bench" if _whole(asked) else f"python -m benchmarks {' '.join(sys.argv[1:])}"}
    found: dict[str, Any] = {}
    failed: dict[str, str] = {}
    results = Results(told, found, failed)
    rounds: dict[str, list[Any]] = {section.name: [] for section in chosen}
    for number in range(asked.rounds):
        for section in chosen:
            if number == 0 or section.in_turns:
                _measure(section, rounds[section.name], failed)
                found |= {name: middle(several) for name, several in rounds.items() if several}
                results.save(PARTIAL)
    print()
    for one in verdicts(results):
        if one.found is not None:
            print(f"{'reached' if one.reached else 'NOT REACHED':<12} {one.goal}: {one.found:.4g}{one.unit}")
    if _whole(asked) or asked.page:
        results.save(page.KEPT)
        page.write(Results.load(page.KEPT))
        print(f"\nWritten: {page.PAGE}")
    sys.exit(1 if any("SKIPPED" not in why for why in failed.values()) else 0)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="per figure")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of what is compared with one another")
    parser.add_argument("--rows", type=int, default=ROWS, help="of finished steps, in the full database")
    parser.add_argument("--runs", type=int, default=RUNS, help="that are interrupted")
    names = [one.name for one in sections(SECONDS, ROWS, RUNS)]
    parser.add_argument("--only", nargs="+", choices=names, default=[], metavar="SECTION", help=", ".join(names))
    parser.add_argument("--page", action="store_true", help="write the page all the same")
    return parser.parse_args()


def _whole(asked: argparse.Namespace) -> bool:
    given = (asked.only, asked.seconds, asked.rounds, asked.rows, asked.runs)
    return given == ([], SECONDS, ROUNDS, ROWS, RUNS)


def _measure(section: Section, found: list[Any], failed: dict[str, str]) -> None:
    print(f"{section.name:<18}", end="", flush=True)
    began = time.monotonic()
    try:
        found.append(isolated(section.module, *section.arguments, seconds=section.limit))
    except Failed as why:
        failed[section.name] = str(why)
        print(f"NOT MEASURED: {why}")
    else:
        print(f"{time.monotonic() - began:4.0f} s")


if __name__ == "__main__":
    main()
