"""The page of figures is what the command that measures writes from the results beside it; nothing is left out silently."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import page
from benchmarks.goals import verdicts
from benchmarks.isolated import Failed, isolated
from benchmarks.results import Results, middle
from benchmarks.sections import sections
from tests.docs.place import ROOT

RESULTS = Results.load(ROOT / page.KEPT)
TEXT = (ROOT / page.PAGE).read_text("utf-8")


def test_the_page_holds_what_the_command_writes_from_the_results_beside_it() -> None:
    assert page.measured(TEXT)[1] == page.render(RESULTS)


def test_every_section_is_there_or_is_told_to_have_failed() -> None:
    assert {one.name for one in sections(1, 1, 1)} == RESULTS.found.keys() | RESULTS.failed.keys()


def test_a_section_that_failed_leaves_its_goals_unmeasured_and_is_told_of() -> None:
    found = {name: figures for name, figures in RESULTS.found.items() if name != "restate"}
    results = replace(RESULTS, found=found, failed={"restate": "SKIPPED: there is\nno npm"})
    assert {one.found for one in verdicts(results) if "Restate" in one.goal} == {None}
    text = page.render(results)
    assert "**Not measured: `restate`.** SKIPPED: there is no npm" in text
    assert text.count("| not measured |") == sum(one.found is None for one in verdicts(results)) >= 8


def test_with_nothing_measured_at_all_there_is_a_page_all_the_same() -> None:
    results = Results({"machine": "none"}, {}, {one.name: "gone" for one in sections(1, 1, 1)})
    assert {one.reached for one in verdicts(results)} == {None}
    assert page.render(results).count("**Not measured: ") == len(results.failed)


def test_of_several_rounds_the_median_of_each_figure_counts() -> None:
    def found(rate: float, p99: float) -> dict[str, object]:
        return {"steps": [{"kind": "set", "concurrency": 32, "rate": rate}], "p99": p99, "why": None}

    assert middle([found(10.0, 3.0), found(90.0, 1.0), found(20.0, 2.0)]) == found(20.0, 2.0)
    assert middle([found(10.0, 3.0)]) == found(10.0, 3.0)


def test_a_goal_is_reached_by_the_ratio_of_one_run() -> None:
    def figure(kind: str, concurrency: int, rate: float) -> dict[str, object]:
        return {"kind": kind, "concurrency": concurrency, "steps_per_second": rate}

    ours = [figure("set", 32, 6000.0), figure("async", 32, 2999.0)]
    dbos = [figure("threads", 32, 100.0), figure("async", 32, 50.0), figure("http", 32, 900.0)]
    results = Results({}, {"ours_sqlite": ours, "dbos_sqlite": dbos}, {})
    said = {
        one.goal: (one.found, one.reached) for one in verdicts(results) if one.found is not None and "at 32" in one.goal
    }
    assert said == {
        "`set` / DBOS, SQLite, at 32": (60.0, True),
        "`python` / DBOS, SQLite, at 32": (29.99, False),
    }


def test_what_takes_too_long_or_fails_is_ended_and_told(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="took longer than 1 s"):
        isolated("serving", f"sqlite:///{tmp_path}/runs.db", "--begin-at", 1e12, seconds=1)
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in left
    with pytest.raises(Failed, match="the following arguments are required: url"):
        isolated("serving", seconds=60)
