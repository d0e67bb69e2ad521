"""A service that calls back may do so at any time once it was asked, and be asked again because its answer was lost."""

from __future__ import annotations

import pytest

from mcp_workflows.definition.expressions import Template
from mcp_workflows.definition.program import Callback, Definition, HttpWork, Retry, Step
from mcp_workflows.engine.machine import HOLD
from tests.engine.simulation import Fate, Simulation, World

ORDER = HttpWork("POST", Template.of("http://shop.test/orders"), callback=Callback(500.0))
PATIENT = Retry(max_attempts=3, delay=2 * HOLD.total_seconds(), jitter=False)
"""Long enough between attempts for the run to be released."""


def ordering(*fates: Fate, retry: Retry = PATIENT, on_failure: str = "compensate") -> Simulation:
    step = Step("order", "http", ORDER, id="order", retry=retry)
    definition = Definition("sample", None, "", "", "", {}, None, {}, (), (step,), None, on_failure=on_failure)  # pyright: ignore[reportArgumentType]
    simulation = Simulation.of(definition, World(lambda _, number: fates[number - 1]))
    simulation.pump()
    return simulation


def call(simulation: Simulation, attempt: int, said: str) -> None:
    simulation.send("callback", path="order", attempt=attempt, body=said)
    simulation.pump()


@pytest.mark.parametrize("rebuilt", [False, True])
@pytest.mark.parametrize("retry", [PATIENT, Retry(max_attempts=3, delay=0.1)])
def test_a_call_between_two_attempts_is_not_lost(retry: Retry, rebuilt: bool) -> None:
    simulation = ordering(Fate.LOST_AFTER, Fate.CALLED_BACK, retry=retry)
    simulation.end_one()
    simulation.pump()
    call(simulation, 2, "done")
    if rebuilt:
        simulation.rebuild()
        simulation.pump()
    assert simulation.pass_time()
    simulation.pump()
    simulation.end_one()
    simulation.pump()
    assert (simulation.record.status, simulation.record.output) == ("completed", "done")
    assert simulation.inbox == []


@pytest.mark.parametrize("rebuilt", [False, True])
def test_a_call_while_the_attempt_is_in_flight_that_then_gets_no_answer_is_not_lost(rebuilt: bool) -> None:
    simulation = ordering(Fate.LOST_AFTER, Fate.CALLED_BACK)
    call(simulation, 1, "done")
    simulation.end_one()
    simulation.pump()
    if rebuilt:
        simulation.rebuild()
        simulation.pump()
    assert simulation.pass_time()
    simulation.pump()
    simulation.end_one()
    simulation.pump()
    assert (simulation.record.status, simulation.record.output) == ("completed", "done")


def test_a_call_for_what_the_request_was_before_it_was_corrected_ends_nothing() -> None:
    simulation = ordering(Fate.REFUSED, Fate.CALLED_BACK, on_failure="pause")
    call(simulation, 1, "too soon")
    simulation.end_one()
    simulation.pump()
    assert simulation.record.status == "paused"
    simulation.send("resume", path="order", generation=1, request={"json": {"amount": 5}})
    simulation.pump()
    simulation.end_one()
    simulation.pump()
    assert simulation.record.status == "waiting"
    call(simulation, 2, "done")
    assert (simulation.record.status, simulation.record.output) == ("completed", "done")


def test_the_second_call_of_two_changes_nothing() -> None:
    simulation = ordering(Fate.LOST_AFTER, Fate.CALLED_BACK)
    simulation.end_one()
    simulation.pump()
    call(simulation, 2, "first")
    call(simulation, 2, "second")
    assert simulation.pass_time()
    simulation.pump()
    simulation.end_one()
    simulation.pump()
    assert simulation.record.output == "first"
