"""What a run costs does not grow with what it has done. Work is counted here, not time: it is the same on every machine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

import pytest

from mcp_workflows.definition.expressions import Template
from mcp_workflows.definition.program import Definition, ForEachWork, HttpWork, RepeatWork, Step
from mcp_workflows.engine.records import StepRecord
from tests.engine.simulation import Fate, Simulation, World

SIZE = 3000
LANES = 10
EARLY, LATE, WINDOW = 100, 2900, 20
STEPS = tuple(Step(name, "http", HttpWork("POST", Template.of("http://crm.test/x")), id=name) for name in ("a", "b"))
BLOCKS = {
    "repeat": RepeatWork(STEPS, max_iterations=SIZE),
    "for_each": ForEachWork(Template.of(list(range(SIZE))), STEPS, concurrency=LANES),
}
kinds = pytest.mark.parametrize("kind", BLOCKS)


class Written(dict[str, StepRecord]):
    """Rows by path, and the paths in the order in which they are written from now on."""

    def __init__(self, rows: Mapping[str, StepRecord]) -> None:
        super().__init__(rows)
        self.writes: list[str] = []

    def __setitem__(self, path: str, row: StepRecord) -> None:
        self.writes.append(path)
        super().__setitem__(path, row)


def run(kind: str) -> Simulation:
    block = Step("each", kind, BLOCKS[kind], id="each")
    definition = Definition("grows", None, "", "", "", {}, None, {}, (), (block,), None)
    simulation = Simulation.of(definition, World(lambda _path, _attempt: Fate.DONE))
    simulation.pump()
    return simulation


def instructions(work: Callable[[], Any]) -> int:
    """How many the interpreter executes in ``work``, in every function that it calls."""
    count = 0

    def executed(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        count += event == "opcode"
        return executed

    def entered(frame: FrameType, _event: str, _argument: Any) -> Any:
        frame.f_trace_opcodes = True
        return executed

    before = sys.gettrace()
    sys.settrace(entered)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def advance(simulation: Simulation, events: int) -> None:
    for _ in range(events):
        assert simulation.step()


@kinds
def test_an_event_costs_late_in_a_loop_what_it_costs_early(kind: str) -> None:
    simulation = run(kind)
    advance(simulation, EARLY)
    early = instructions(lambda: advance(simulation, WINDOW))
    advance(simulation, LATE - EARLY - WINDOW)
    late = instructions(lambda: advance(simulation, WINDOW))
    assert early > WINDOW * 100, "nothing was counted"
    assert late < early * 1.1


@kinds
def test_an_event_records_what_has_changed_and_not_what_stands(kind: str) -> None:
    simulation = run(kind)
    advance(simulation, EARLY)
    simulation.steps = written = Written(simulation.steps)
    advance(simulation, 2 * WINDOW)
    rows = len(written.writes)
    assert rows == 3 * WINDOW, "each step once, and after two of them the item or where the loop is"
    assert ("each" in written.writes) == (kind == "repeat"), "the row of a for_each holds all items"


@kinds
def test_a_machine_keeps_in_mind_what_is_open_and_of_the_rest_a_row_an_item(kind: str) -> None:
    simulation = run(kind)
    advance(simulation, LATE)
    most = 1 + len(STEPS) if kind == "repeat" else 1 + SIZE + LANES * len(STEPS)
    kept, recorded = len(simulation.machine.memo), len(simulation.steps)
    assert kept <= most < recorded


@kinds
def test_a_node_that_takes_over_late_in_a_loop_loads_what_is_open_and_of_the_rest_a_row_an_item(kind: str) -> None:
    simulation = run(kind)
    advance(simulation, 2 * LATE if kind == "for_each" else LATE)
    most = 1 + len(STEPS) if kind == "repeat" else 1 + SIZE + LANES * len(STEPS)
    loaded, recorded = len(simulation.load()), len(simulation.steps)
    assert loaded <= most < recorded
    simulation.rebuild(interrupted=True)
    entering = instructions(simulation.pump)
    assert entering < 5000 + 300 * most
    simulation.to_the_end(2 * SIZE + LANES)
    status = simulation.record.status
    assert status == "completed"
