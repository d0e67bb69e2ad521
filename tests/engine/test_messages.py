"""What comes from outside is taken once, by the right step, and is never lost between two records."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mcp_workflows.definition.expressions import Template
from mcp_workflows.definition.program import (
    ApprovalWork,
    ParallelWork,
    SetWork,
    SignalWork,
    Step,
    WaitWork,
    WorkflowWork,
)
from mcp_workflows.engine.machine import HOLD
from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.records import ParentRun
from tests.engine.samples import UNDO, post, run
from tests.engine.simulation import START, Fate, Simulation

SOON = HOLD.total_seconds() / 2
"""A wait too short for the run to be let go."""


def signal(name: str, timeout: float | None = None) -> Step:
    return Step(name, "signal", SignalWork("paid", timeout=timeout), id=name)


def approval(name: str, timeout: float | None = None) -> Step:
    work = ApprovalWork(Template.of("Go?"), timeout=timeout, on_reject="continue", on_timeout="reject")
    return Step(name, "approval", work, id=name)


def child(name: str) -> Step:
    return Step(name, "workflow", WorkflowWork("child", Template.of({})), id=name)


def set_aside(simulation: Simulation) -> None:
    simulation.rebuild()
    simulation.machine.set_aside(StepError("recoveries", "3 servers died"), simulation.now)
    simulation.pump()
    assert simulation.record.status == "paused"
    simulation.rebuild()


def test_a_message_that_comes_too_late_for_one_wait_is_taken_by_another() -> None:
    waits = ParallelWork({"short": (signal("s", 60.0),), "long": (signal("l"),)})
    simulation = run(Step("both", "parallel", waits), on_failure="fail")
    simulation.pump()
    simulation.now += timedelta(seconds=61)
    simulation.rebuild()
    simulation.pump()
    simulation.send("signal", name="paid", data=1)
    simulation.machine.advance(simulation.now)
    simulation.pump()
    assert simulation.steps["both.long.l"].output == 1
    assert simulation.steps["both.short.s"].error is not None


@pytest.mark.parametrize("rebuilt", [False, True])
def test_of_two_that_wait_for_one_message_the_first_takes_it_also_after_a_restart(rebuilt: bool) -> None:
    late = Step("later", "wait", WaitWork(SOON))
    begin = Step("begin", "set", SetWork(Template.of({})))
    waits = ParallelWork({"a": (late, signal("second")), "b": (begin, signal("first")), "c": (late, signal("third"))})
    simulation = run(Step("all", "parallel", waits), on_failure="fail")
    simulation.pump()
    simulation.pass_time()
    simulation.pump()
    if rebuilt:
        simulation.rebuild()
        simulation.pump()
    taken: list[str] = []
    for number in range(3):
        simulation.send("signal", name="paid", data=number)
        simulation.pump()
        taken += [path for path, step in simulation.steps.items() if step.kind == "signal" and step.output == number]
    assert taken == ["all.b.first", "all.a.second", "all.c.third"]


def test_a_message_is_consumed_with_what_comes_of_it_and_not_before() -> None:
    simulation = run(signal("s"), Step("x", "set", SetWork(Template.of(1))))
    simulation.pump()
    simulation.send("signal", name="paid", data=1)
    decisions = simulation.machine.pump(simulation.now, budget=0)
    assert decisions.turn is None or not decisions.turn.consumed
    turn = simulation.pump()
    assert turn is not None
    assert turn.consumed
    assert [step.path for step in turn.steps] == ["s", "x"]


def test_an_answer_to_a_run_that_was_set_aside_is_kept_until_it_is_resumed() -> None:
    simulation = run(approval("ok"))
    simulation.pump()
    set_aside(simulation)
    simulation.send("answer", path="ok", generation=1, decision="approved", via="test")
    simulation.pump()
    assert len(simulation.inbox) == 1
    simulation.rebuild()
    simulation.send("resume")
    simulation.pump()
    assert simulation.record.status == "completed"
    assert simulation.inbox == []


def test_a_child_that_ends_while_its_parent_is_set_aside_is_not_forgotten() -> None:
    simulation = run(child("c"))
    simulation.pump()
    simulation.end_one()
    simulation.pump()
    set_aside(simulation)
    assert simulation.answer_one()
    simulation.pump()
    simulation.rebuild()
    simulation.send("resume")
    simulation.pump()
    assert (simulation.record.status, len(simulation.children)) == ("completed", 1)


def test_cancelling_a_run_that_was_set_aside_stops_its_child_as_well() -> None:
    simulation = run(child("c"))
    simulation.pump()
    simulation.end_one()
    simulation.pump()
    set_aside(simulation)
    simulation.send("cancel", compensate=True)
    simulation.to_the_end()
    assert simulation.record.status == "cancelled"
    assert [message.kind for message in simulation.told] == ["cancel"]
    assert all(step.status.settled for step in simulation.steps.values())
    assert simulation.record.error is not None


@pytest.mark.parametrize("rebuilt", [False, True])
def test_the_time_of_a_run_passes_again_after_a_short_wait_for_a_person(rebuilt: bool) -> None:
    simulation = run(approval("ok", SOON), Step("w", "wait", WaitWork(3600.0)), timeout=60.0)
    simulation.pump()
    if rebuilt:
        simulation.rebuild()
        simulation.pump()
    assert simulation.pass_time()
    simulation.pump()
    assert simulation.record.timeout_at is not None
    simulation.to_the_end()
    assert simulation.record.error is not None
    assert simulation.record.error.code == "run_timeout"


def test_the_time_of_a_run_stands_still_also_during_a_short_wait_for_a_person() -> None:
    simulation = run(approval("ok", SOON), timeout=SOON / 2)
    simulation.pump()
    simulation.rebuild()
    simulation.pump()
    assert simulation.machine.wake_at == START + timedelta(seconds=SOON)


# Children and their parents, who tell one another the same thing more than once


def end_undoing(simulation: Simulation, status: str) -> None:
    (run_id,) = simulation.children
    simulation.send("child", path="c", generation=1, run_id=run_id, status=status)
    simulation.pump()


def test_a_parent_asks_a_child_again_that_could_not_be_undone_before() -> None:
    simulation = run(child("c"), post("b"), fates={"b": [Fate.REFUSED]})
    while simulation.record.status != "compensating":
        assert simulation.step()
    end_undoing(simulation, "failed")
    assert simulation.record.compensation == "incomplete"
    simulation.rebuild()
    simulation.send("resume")
    simulation.pump()
    assert [message.kind for message in simulation.told] == ["undo", "undo"]
    end_undoing(simulation, "compensated")
    assert simulation.record.compensation == "done"


def test_a_child_that_could_not_be_undone_tries_again_when_it_is_asked_again_and_answers_every_time() -> None:
    simulation = run(post("a", compensate=UNDO), fates={"a:compensate": [Fate.REFUSED]})
    simulation.run = simulation.run._replace(parent=ParentRun("r_parent", "c", 1))
    simulation.rebuild()
    simulation.to_the_end()
    for ends in ("failed", "compensated", "compensated"):
        simulation.rebuild()
        simulation.send("undo")
        simulation.to_the_end()
        assert simulation.record.status == ends
    assert [message.body["status"] for message in simulation.told] == [
        "completed",
        "failed",
        "compensated",
        "compensated",
    ]
    assert [call.path for call in simulation.calls] == ["a", "a:compensate", "a:compensate"]


def test_a_child_that_ends_in_doubt_while_everything_stops_is_named_as_not_undone() -> None:
    simulation = run(child("c"))
    simulation.step()
    simulation.send("cancel", compensate=True)
    simulation.pump()
    (run_id,) = simulation.children
    error = {"code": "http_500", "message": "no"}
    simulation.send(
        "child", path="c", generation=1, run_id=run_id, status="failed", compensation="incomplete", error=error
    )
    simulation.pump()
    assert (simulation.record.status, simulation.record.compensation) == ("failed", "incomplete")
    assert simulation.record.not_undone[0].path == "c"
    assert [message.kind for message in simulation.told] == ["cancel"]
