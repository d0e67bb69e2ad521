"""What a person's ``resume`` opens anew, however deep it stands, and what it leaves as it is."""

from __future__ import annotations

from typing import Any

import pytest

from mcp_workflows.definition.expressions import Template, Variables, compile_text
from mcp_workflows.definition.program import (
    Arm,
    Compensation,
    ForEachWork,
    HttpWork,
    ParallelWork,
    RepeatWork,
    Step,
    WorkflowWork,
)
from tests.engine.samples import definition, post, run
from tests.engine.simulation import Answer, Fate, Simulation, World


def paths(simulation: Simulation) -> list[str]:
    return [call.path for call in simulation.calls]


def resumed(simulation: Simulation, **correction: Any) -> Simulation:
    """By a node that claims the run for it."""
    simulation.rebuild()
    simulation.send("resume", **correction)
    simulation.to_the_end()
    return simulation


def test_a_child_that_failed_is_started_anew_by_resuming_its_parent() -> None:
    child = Step("c", "workflow", WorkflowWork("child", Template.of({})), id="c")
    answers = {1: Answer.NO, 2: Answer.YES}
    world = World(lambda _path, _attempt: Fate.DONE, lambda _path, generation: answers[generation])
    simulation = Simulation.of(definition(child, on_failure="pause"), world)
    simulation.to_the_end()
    assert simulation.record.status == "paused"
    resumed(simulation)
    assert simulation.record.status == "completed"
    assert len(simulation.children) == 2


def test_an_at_most_once_step_in_doubt_is_not_made_again_because_its_neighbour_is_resumed() -> None:
    once = Step("b", "http", HttpWork("POST", Template.of("http://x.test/")), id="b", at_most_once=True)
    both = Step("both", "parallel", ParallelWork({"left": (post("a"),), "right": (once,)}))
    fates = {"both.left.a": [Fate.REFUSED], "both.right.b": [Fate.LOST_AFTER]}
    simulation = run(both, on_failure="pause", fates=fates)
    simulation.to_the_end()
    assert simulation.record.error is not None
    assert simulation.record.error.step == "both.left.a"
    resumed(simulation)
    assert paths(simulation).count("both.right.b") == 1
    assert simulation.record.status == "paused"
    assert simulation.record.error.step == "both.right.b"
    resumed(simulation, again=True)
    assert simulation.record.status == "completed"
    assert paths(simulation).count("both.right.b") == 2


@pytest.mark.parametrize("kept_alive", [True, False])
def test_what_a_compensation_has_done_in_a_block_is_not_done_again_when_it_is_resumed(kept_alive: bool) -> None:
    each = ForEachWork(Template.of([1, 2]), (post("x"), post("y")))
    undo = Compensation((Step("loop", "for_each", each, id="loop"),))
    fates = {"b": [Fate.REFUSED], "a:compensate.loop[1].y": [Fate.REFUSED]}
    simulation = run(post("a", compensate=undo), post("b"), fates=fates)
    simulation.to_the_end()
    assert simulation.record.compensation == "incomplete"
    if not kept_alive:
        simulation.rebuild()
    simulation.send("resume")
    simulation.to_the_end()
    assert (simulation.record.status, simulation.record.compensation) == ("failed", "done")
    made = [path.removeprefix("a:compensate.") for path in paths(simulation) if ":" in path]
    assert made == ["loop[0].x", "loop[0].y", "loop[1].x", "loop[1].y", "loop[1].y"]


@pytest.mark.parametrize("correction", [{"output": {"by": "hand"}}, {"skip": True}])
def test_a_step_whose_handler_cannot_say_its_output_takes_the_one_that_is_given(correction: dict[str, Any]) -> None:
    bad = compile_text("${steps.h.output.nope}", Variables.of("steps.h"))
    failing = post("a", on_error=(Arm("else", (post("h"),), output=bad),))
    simulation = run(failing, post("b"), on_failure="pause", fates={"a": [Fate.REFUSED]})
    simulation.to_the_end()
    assert simulation.record.status == "paused"
    resumed(simulation, **correction)
    assert simulation.record.status == "completed"
    assert paths(simulation) == ["a", "a:on_error.else.h", "b"]


def test_an_iteration_is_kept_when_it_has_come_to_its_end_whatever_was_corrected_since() -> None:
    """What is collected of it may change with the input as long as the loop has not gone on."""
    element = compile_text("${input.n}", Variables.of("input"))
    given = compile_text("${result + input.more}", Variables.of("input", "result"))
    loop = RepeatWork((post("x"),), collect=element, max_iterations=2)
    simulation = run(Step("loop", "repeat", loop, id="loop", output=given), on_failure="pause")
    simulation.to_the_end()
    assert simulation.record.status == "paused"
    resumed(simulation, input={"n": 1})
    assert simulation.record.status == "paused"
    resumed(simulation, input={"n": 2, "more": ["end"]})
    assert simulation.record.status == "completed"
