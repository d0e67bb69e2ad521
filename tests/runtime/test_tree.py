"""A run's steps as a tree: what stands below what, and what of a long loop is shown."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.records import StepRecord
from mcp_workflows.engine.states import StepStatus
from mcp_workflows.runtime.tree import Branch, tree

BEGUN = datetime(2026, 11, 22, 12, tzinfo=UTC)


def step(
    path: str, second: int, kind: str = "set", status: StepStatus = StepStatus.COMPLETED, **more: Any
) -> StepRecord:
    at = BEGUN + timedelta(seconds=second)
    return StepRecord(path, second, kind, status, started_at=at, finished_at=at, **more)


def drawn(branches: Sequence[Branch], depth: int = 0) -> list[str]:
    lines: list[str] = []
    for branch in branches:
        lines += [f"{'  ' * depth}{branch.name}", *drawn(branch.inner, depth + 1)]
        if branch.left_out:
            lines.append(f"{'  ' * (depth + 1)}… {branch.left_out.total()}")
    return lines


def test_steps_stand_below_what_they_stand_in_and_lists_of_one_step_are_one_line() -> None:
    rows = [
        step("checks", 0, "parallel"),
        step("checks.stock.count", 2),
        step("checks.stock.sum", 3),
        step("checks.stock", 3, "branch"),
        step("checks.credit.score", 1),
        step("checks.credit", 1, "branch"),
        step("route", 4, "switch"),
        step("route.when1.ship", 4),
        step("charge", 5, error=StepError("http_500", "no")),
        step("charge:on_error.else.tell", 6),
        step("charge:on_error.else.note", 7),
    ]
    assert drawn(tree(rows)) == [
        "checks",
        "  credit.score",
        "  stock",
        "    count",
        "    sum",
        "route",
        "  when1.ship",
        "charge",
        "  on_error.else",
        "    tell",
        "    note",
    ]


def test_what_undoes_a_step_stands_where_it_happened_and_not_below_the_step() -> None:
    rows = [
        step("items", 0, "for_each", status=StepStatus.FAILED),
        step("items[0].charge", 1, status=StepStatus.COMPENSATED),
        step("items[0]", 1, "item"),
        step("ship", 2, status=StepStatus.FAILED),
        step("items[0].charge:compensate", 3),
        step("account:compensate.close", 4),
        step("account:compensate.tell", 5),
    ]
    assert drawn(tree(rows)) == [
        "items",
        "  [0].charge",
        "ship",
        "undo items[0].charge",
        "undo account",
        "  close",
        "  tell",
    ]


def test_of_a_long_loop_the_first_the_last_and_those_in_trouble_are_shown() -> None:
    rows = [step("loop", 0, "for_each")]
    for index in range(1000):
        status = StepStatus.FAILED if index in (500, 700) else StepStatus.COMPLETED
        rows += [step(f"loop[{index}].one", index, status=status), step(f"loop[{index}]", index, "item", status=status)]
    assert drawn(tree(rows)) == [
        "loop",
        *(f"  [{index}].one" for index in (0, 1, 2, 500, 700, 998, 999)),
        "  … 993",
    ]


def test_items_that_have_no_record_yet_say_what_is_in_them() -> None:
    rows = [
        step("loop", 0, "for_each", status=StepStatus.RUNNING),
        step("loop[0].one", 1),
        step("loop[0].two", 2, status=StepStatus.WAITING),
        step("loop[10].one", 1),
        step("loop[10].two", 1),
        step("loop[2].one", 1),
        step("loop[2].two", 1, status=StepStatus.FAILED),
    ]
    (loop,) = tree(rows)
    assert [(item.name, item.status) for item in loop.inner] == [
        ("[0]", StepStatus.RUNNING),
        ("[2]", StepStatus.FAILED),
        ("[10]", StepStatus.COMPLETED),
    ]


def test_a_loop_whose_failure_is_handled_has_its_items_and_the_handler_below_it() -> None:
    rows = [
        step("loop", 0, "for_each", error=StepError("expression", "no")),
        step("loop[0].one", 1, status=StepStatus.FAILED),
        step("loop:on_error.else.mend", 2),
    ]
    assert drawn(tree(rows)) == ["loop", "  [0].one", "  on_error.else.mend"]


def test_a_run_of_nothing_is_an_empty_tree() -> None:
    assert tree([]) == []
