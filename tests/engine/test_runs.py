"""The rules of a run, one at a time, on small definitions in a world that is arranged."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mcp_workflows.definition.expressions import Template, Variables, compile_text
from mcp_workflows.definition.program import (
    INTERRUPTED,
    ApprovalWork,
    Arm,
    FailWork,
    ParallelWork,
    Retry,
    ReturnWork,
    SetWork,
    SignalWork,
    Step,
    WaitWork,
)
from mcp_workflows.engine.machine import HOLD
from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.states import StepStatus
from tests.engine.samples import UNDO, definition, post, run
from tests.engine.simulation import START, Answer, Cut, Fate, Simulation, World

UNDO_IN_DOUBT = replace(UNDO, in_doubt=True)


def statuses(simulation: Simulation) -> dict[str, str]:
    return {path: str(step.status) for path, step in simulation.steps.items()}


def test_a_run_completes_with_the_output_of_its_last_step() -> None:
    simulation = run(post("a"), post("b"))
    simulation.to_the_end()
    assert (simulation.record.status, simulation.record.output) == ("completed", {"from": "b"})


def test_steps_that_only_compute_need_no_attempt_and_are_recorded_together() -> None:
    simulation = run(*(Step(f"s{n}", "set", SetWork(Template.of(n))) for n in range(5)))
    turn = simulation.pump()
    assert turn is not None
    assert len(turn.steps) == 5
    assert simulation.record.status == "completed"


def test_a_definition_that_only_computes_cannot_hold_the_loop() -> None:
    simulation = run(*(Step(f"s{n}", "set", SetWork(Template.of(n))) for n in range(1000)))
    decisions = simulation.machine.pump(START, budget=100)
    assert decisions.turn is not None
    assert len(decisions.turn.steps) == 100
    assert decisions.more


def test_an_attempt_is_asked_for_only_with_what_must_be_recorded_before_it() -> None:
    simulation = run(post("pay", at_most_once=True))
    decisions = simulation.machine.pump(START)
    assert decisions.turn is not None
    assert [(s.path, s.status) for s in decisions.turn.steps] == [("pay", StepStatus.RUNNING)]
    assert [call.path for call in decisions.attempts] == ["pay"]


def test_a_backoff_survives_a_rebuild_and_is_neither_reset_nor_skipped() -> None:
    retry = Retry(max_attempts=3, delay=100.0, max_delay=100.0, jitter=False)
    simulation = run(post("a", retry=retry), fates={"a": [Fate.BUSY, Fate.BUSY]})
    simulation.step()
    assert simulation.machine.wake_at == simulation.now + timedelta(seconds=100)
    due_at = simulation.machine.wake_at
    simulation.now += timedelta(seconds=40)
    simulation.rebuild()
    simulation.pump()
    assert simulation.flying == []
    assert simulation.machine.wake_at == due_at
    simulation.step()
    simulation.to_the_end()
    assert [call.attempt for call in simulation.calls] == [1, 2, 3]
    assert [attempt.number for attempt in simulation.attempts] == [1, 2]


def test_every_attempt_of_a_step_carries_the_same_key() -> None:
    retry = Retry(max_attempts=3, delay=0.1)
    simulation = run(post("a", retry=retry), fates={"a": [Fate.BUSY, Fate.LOST_AFTER]})
    simulation.to_the_end()
    assert [call.idempotency_key for call in simulation.calls] == ["r_test:a"] * 3


def test_a_run_that_waits_for_long_is_released_and_one_that_waits_shortly_is_kept() -> None:
    for seconds, released in ((HOLD.total_seconds() / 2, False), (HOLD.total_seconds() * 2, True)):
        simulation = run(Step("w", "wait", WaitWork(seconds)))
        turn = simulation.pump()
        assert turn is not None
        assert turn.release is released
        assert simulation.record.status == ("waiting" if released else "running")
        if released:
            assert simulation.record.wake_at == START + timedelta(seconds=seconds)


def test_a_failure_that_is_in_doubt_stays_so_although_a_later_attempt_was_refused() -> None:
    simulation = run(post("a", retry=Retry(2, delay=0.1)), fates={"a": [Fate.LOST_AFTER, Fate.REFUSED]})
    simulation.to_the_end()
    assert simulation.steps["a"].status is StepStatus.IN_DOUBT
    assert simulation.record.error is not None
    assert simulation.record.error.in_doubt
    assert simulation.record.compensation == "incomplete"
    assert [(one.path, one.in_doubt) for one in simulation.record.not_undone] == [("a", True)]


def test_a_step_in_doubt_is_undone_where_its_compensation_says_so() -> None:
    simulation = run(post("a", compensate=UNDO_IN_DOUBT), fates={"a": [Fate.LOST_AFTER]})
    simulation.to_the_end()
    assert (simulation.record.status, simulation.record.compensation) == ("failed", "done")
    assert simulation.record.undone == ("a",)


def test_a_failure_undoes_what_was_completed_latest_first() -> None:
    simulation = run(
        post("a", compensate=UNDO), post("b"), post("c", compensate=UNDO), post("d"), fates={"d": [Fate.REFUSED]}
    )
    simulation.to_the_end()
    assert [call.path for call in simulation.calls] == ["a", "b", "c", "d", "c:compensate", "a:compensate"]
    assert (simulation.record.status, simulation.record.compensation) == ("failed", "done")
    assert statuses(simulation)["a"] == "compensated"


def test_a_compensation_that_fails_stops_the_undoing_and_resume_goes_on_with_it() -> None:
    simulation = run(
        post("a", compensate=UNDO), post("b", compensate=UNDO), post("c"),
        fates={"c": [Fate.REFUSED], "b:compensate": [Fate.BUSY]},
    )  # fmt: skip
    simulation.to_the_end()
    assert (simulation.record.status, simulation.record.compensation) == ("failed", "incomplete")
    assert [(one.path, one.in_doubt) for one in simulation.record.not_undone] == [("b", False), ("a", False)]
    assert statuses(simulation)["b"] == "completed"
    simulation.rebuild()
    simulation.send("resume")
    simulation.to_the_end()
    assert (simulation.record.status, simulation.record.compensation) == ("failed", "done")
    assert simulation.record.undone == ("b", "a")
    keys = {call.idempotency_key for call in simulation.calls if call.path == "b:compensate"}
    assert len(keys) == 1


def test_a_crash_in_the_middle_of_undoing_undoes_nothing_twice_that_is_recorded() -> None:
    steps = [post(name, compensate=UNDO) for name in "abc"]
    simulation = run(*steps, post("d"), fates={"d": [Fate.REFUSED]})
    while not any(call.path == "b:compensate" for call, _ in simulation.flying):
        simulation.step()
        simulation.pump()
    simulation.crash({"b:compensate": True})
    simulation.to_the_end()
    undone = [call.path for call in simulation.calls if ":" in call.path]
    assert undone == ["c:compensate", "b:compensate", "b:compensate", "a:compensate"]
    assert simulation.record.compensation == "done"


def test_an_at_most_once_step_that_was_cut_off_pauses_the_run_whatever_the_policy() -> None:
    simulation = run(post("pay", at_most_once=True), on_failure="compensate")
    simulation.pump()
    simulation.crash({"pay": True})
    simulation.to_the_end()
    assert simulation.record.status == "paused"
    assert simulation.record.error is not None
    assert (simulation.record.error.code, simulation.record.error.in_doubt) == (INTERRUPTED, True)
    assert len(simulation.calls) == 1
    simulation.send("resume", again=True)
    simulation.to_the_end()
    assert simulation.record.status == "completed"
    assert len(simulation.calls) == 2


def test_an_at_most_once_step_that_a_leaving_node_did_not_begin_is_not_in_doubt() -> None:
    simulation = run(post("pay", at_most_once=True))
    simulation.pump()
    assert [call.path for call, _ in simulation.flying] == ["pay"]
    simulation.leave()
    simulation.to_the_end()
    assert simulation.record.status == "completed"


def test_a_doubt_that_one_node_found_is_known_to_the_next() -> None:
    simulation = run(post("a"), fates={"a": [Fate.REFUSED]})
    simulation.pump()
    simulation.crash({"a": True})
    simulation.pump()
    simulation.leave()
    simulation.to_the_end()
    assert simulation.steps["a"].status is StepStatus.IN_DOUBT


def test_a_step_after_one_whose_failure_was_being_handled_at_a_crash_is_not_in_doubt() -> None:
    simulation = run(
        post("a", on_error=(Arm("else", (post("h"),)),)), post("b"), fates={k: [Fate.REFUSED] for k in "ab"}
    )
    simulation.step()
    simulation.crash({})
    simulation.to_the_end()
    assert simulation.steps["b"].status is StepStatus.FAILED


def test_an_attempt_that_may_have_been_in_flight_at_a_crash_leaves_doubt_when_the_next_is_refused() -> None:
    simulation = run(post("a"), post("b"), fates={"b": [Fate.REFUSED]})
    simulation.step()
    assert [call.path for call, _ in simulation.flying] == ["b"]
    simulation.crash({})
    simulation.to_the_end()
    assert simulation.steps["b"].status is StepStatus.IN_DOUBT


@pytest.mark.parametrize(
    ("correction", "key", "status"),
    [
        ({}, "r_test:b", "completed"),
        ({"request": {"json": {"x": 1}}}, "r_test:b:2", "completed"),
        ({"input": {"amount": 2}}, "r_test:b:2", "completed"),
        ({"output": {"by": "hand"}}, None, "completed"),
        ({"skip": True}, None, "skipped"),
    ],
)
def test_resume_goes_on_from_the_failed_step(correction: dict[str, Any], key: str | None, status: str) -> None:
    simulation = run(post("a"), post("b"), post("c"), on_failure="pause", fates={"b": [Fate.REFUSED]})
    simulation.to_the_end()
    assert simulation.record.status == "paused"
    simulation.rebuild()
    simulation.send("resume", **correction)
    simulation.to_the_end()
    assert simulation.record.status == "completed"
    assert simulation.steps["b"].status == status
    made_again = [call for call in simulation.calls if call.path == "b"][1:]
    assert [call.idempotency_key for call in made_again] == ([key] if key else [])
    assert [call.attempt for call in made_again] == ([2] if key else [])
    assert [call.path for call in simulation.calls].count("a") == 1


def test_a_correction_of_the_input_is_seen_by_what_is_still_to_come() -> None:
    seen = compile_text("${input.amount}", Variables.of("input"))
    pick = Step("pick", "set", SetWork(seen), id="pick")
    simulation = run(post("a"), pick, on_failure="pause", fates={"a": [Fate.REFUSED]})
    simulation.to_the_end()
    simulation.send("resume", input={"amount": 7})
    simulation.to_the_end()
    assert simulation.record.output == 7


def test_cancel_lets_what_is_in_flight_end_and_undoes_it() -> None:
    simulation = run(post("a", compensate=UNDO), post("b"))
    simulation.pump()
    simulation.send("cancel", compensate=True)
    simulation.to_the_end()
    assert [call.path for call in simulation.calls] == ["a", "a:compensate"]
    assert (simulation.record.status, simulation.record.compensation) == ("cancelled", "done")


def test_a_compensation_that_says_why_says_that_the_run_was_cancelled() -> None:
    simulation = run(post("a", compensate=UNDO), post("b"))
    simulation.pump()
    simulation.send("cancel", compensate=True)
    simulation.to_the_end()
    assert simulation.calls[-1].values["error"]["message"] == "the run was cancelled"
    assert simulation.record.error is None


def test_cancel_without_compensation_leaves_what_is_done() -> None:
    simulation = run(post("a", compensate=UNDO), Step("w", "wait", WaitWork(3600.0)))
    simulation.step()
    simulation.send("cancel", compensate=False)
    simulation.to_the_end()
    assert [call.path for call in simulation.calls] == ["a"]
    assert (simulation.record.status, simulation.record.compensation) == ("cancelled", "none")
    assert statuses(simulation)["w"] == "cancelled"


def test_a_cancelled_run_that_cannot_be_undone_has_failed_until_resume_undoes_it() -> None:
    fates = {"a:compensate": [Fate.REFUSED]}
    simulation = run(post("a", compensate=UNDO), Step("w", "wait", WaitWork(3600.0)), fates=fates)
    simulation.step()
    simulation.send("cancel", compensate=True)
    simulation.to_the_end()
    assert (simulation.record.status, simulation.record.compensation) == ("failed", "incomplete")
    assert simulation.record.error is not None
    assert simulation.record.error.code == "not_undone"
    simulation.send("resume")
    simulation.to_the_end()
    assert (simulation.record.status, simulation.record.compensation) == ("cancelled", "done")
    assert simulation.record.error is None


def test_a_cancel_that_came_during_downtime_is_taken_before_an_overdue_timer() -> None:
    simulation = run(Step("w", "wait", WaitWork(60.0)), post("b"))
    simulation.pump()
    simulation.now += timedelta(hours=1)
    simulation.rebuild()
    simulation.send("cancel", compensate=True)
    simulation.machine.advance(simulation.now)
    simulation.to_the_end()
    assert (simulation.record.status, simulation.calls) == ("cancelled", [])


def test_what_falls_due_with_the_failure_that_stops_it_is_cancelled_whether_a_crash_comes_between_or_not() -> None:
    never = Step("never", "signal", SignalWork("paid", timeout=600.0, on_timeout="continue"))
    asked = Step("asked", "approval", ApprovalWork(Template.of("Go?"), timeout=600.0))
    both = Step("both", "parallel", ParallelWork({"a": (asked,), "b": (never,)}), continue_on_error=True)
    world = World(lambda _path, _attempt: Fate.DONE, lambda _path, _generation: Answer.NEVER)
    whole = Simulation.of(definition(both), world, budget=1)
    whole.to_the_end()
    expected = {"both": "failed", "both.a.asked": "failed", "both.b.never": "cancelled"}
    assert statuses(whole) == expected
    for turn in range(1, whole.turns + 1):
        cut = Simulation.of(definition(both), world, budget=1)
        cut.cut_at = turn
        with pytest.raises(Cut):
            cut.to_the_end()
        rebuilt = cut.fork()
        rebuilt.to_the_end()
        assert statuses(rebuilt) == expected, turn


def test_a_run_out_of_time_fails_once_what_is_in_flight_has_ended() -> None:
    simulation = run(post("a", compensate=UNDO), post("b"), timeout=60.0)
    simulation.pump()
    simulation.now += timedelta(seconds=61)
    simulation.machine.advance(simulation.now)
    simulation.to_the_end()
    assert [call.path for call in simulation.calls] == ["a", "a:compensate"]
    assert simulation.record.error is not None
    assert simulation.record.error.code == "run_timeout"


def test_the_time_of_a_run_stands_still_while_it_is_paused() -> None:
    simulation = run(post("a"), post("b"), timeout=60.0, on_failure="pause", fates={"a": [Fate.REFUSED]})
    simulation.to_the_end()
    simulation.now += timedelta(days=2)
    simulation.send("resume")
    simulation.to_the_end()
    assert simulation.record.status == "completed"


def test_return_ends_the_run_with_its_value_and_undoes_nothing() -> None:
    early = Step("done", "return", ReturnWork(Template.of({"ok": True})))
    simulation = run(post("a", compensate=UNDO), early, post("b"))
    simulation.to_the_end()
    assert (simulation.record.status, simulation.record.output) == ("completed", {"ok": True})
    assert [call.path for call in simulation.calls] == ["a"]


def test_fail_ends_the_run_with_its_own_policy() -> None:
    stop = Step("stop", "fail", FailWork(Template.of("too much"), "limit", Template.of({"max": 10}), "pause"))
    simulation = run(post("a", compensate=UNDO), stop)
    simulation.to_the_end()
    assert simulation.record.status == "paused"
    assert simulation.record.error is not None
    assert (simulation.record.error.code, simulation.record.error.details) == ("limit", {"max": 10})


def test_a_step_that_may_fail_is_passed_over_and_says_so() -> None:
    seen = compile_text("${steps.a.status} ${steps.a.error.code}", Variables.of("steps.a"))
    simulation = run(post("a", continue_on_error=True), Step("s", "set", SetWork(seen)), fates={"a": [Fate.REFUSED]})
    simulation.to_the_end()
    assert simulation.record.output == "failed http_422"


def test_an_expression_that_fails_after_the_work_was_done_leaves_the_effect_to_be_undone() -> None:
    bad = compile_text("${result.body.nope}", Variables.of("result"))
    simulation = run(post("a", output=bad, compensate=UNDO_IN_DOUBT))
    simulation.to_the_end()
    assert simulation.record.error is not None
    assert (simulation.record.error.code, simulation.record.error.in_doubt) == ("expression", True)
    assert simulation.record.undone == ("a",)
    assert len(simulation.attempts) == 1


def test_a_wait_until_an_instant_without_a_zone_is_refused() -> None:
    simulation = run(Step("w", "wait", WaitWork(until=Template.of("2026-11-22T12:00:00"))))
    simulation.to_the_end()
    assert simulation.record.error is not None
    assert "names no time zone" in simulation.record.error.message


def test_a_run_set_aside_keeps_what_is_recorded_and_can_be_resumed() -> None:
    simulation = run(post("a"), post("b"))
    simulation.step()
    simulation.rebuild(interrupted=True)
    simulation.machine.set_aside(StepError("recoveries", "3 servers died"), simulation.now)
    simulation.pump()
    assert simulation.record.status == "paused"
    assert simulation.record.error is not None
    assert (simulation.record.error.step, simulation.record.error.in_doubt) == ("b", True)  # it was in flight
    simulation.send("resume")
    simulation.to_the_end()
    assert simulation.record.status == "completed"
    assert [call.path for call in simulation.calls].count("a") == 1


@pytest.mark.parametrize("back", [timedelta(), timedelta(hours=1)], ids=["clock goes on", "clock set back"])
def test_a_retry_that_a_dead_server_may_have_made_is_in_doubt_also_where_the_clock_was_set_back(
    back: timedelta,
) -> None:
    retry = Retry(max_attempts=2, delay=1.0, max_delay=1.0, jitter=False)
    simulation = run(post("a", retry=retry), fates={"a": [Fate.BUSY, Fate.REFUSED]})
    simulation.pump()
    simulation.end_one()
    simulation.pump()
    simulation.pass_time()
    simulation.pump()
    assert len(simulation.flying) == 1, "the second attempt is under way"
    simulation.now -= back
    simulation.crash({})
    simulation.to_the_end()
    assert simulation.record.error is not None
    assert simulation.record.error.in_doubt
