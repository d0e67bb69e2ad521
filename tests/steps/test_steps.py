"""The attempt as a whole: its time, its place in the crowd, and what happens when the doer itself is broken."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from mcp_workflows.definition.program import SetWork, WaitWork
from mcp_workflows.engine.outcome import Completed, Failed, StepCall
from mcp_workflows.steps import Environment, Steps
from mcp_workflows.steps.gate import Gate
from tests.steps.calls import bench, template

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("exception", "method"), [(RuntimeError("boom"), "POST"), (TimeoutError("inner"), "POST"), (KeyError("x"), "GET")]
)
async def test_a_broken_doer_fails_the_attempt_and_nothing_else(
    exception: Exception, method: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def explode(*_: object) -> None:
        raise exception

    monkeypatch.setattr("mcp_workflows.steps.exchange.read_body", explode)
    async with bench() as b:
        error = await b.failed("/ok", method)
        monkeypatch.undo()
        await b.completed("/ok")
    assert (error.code, error.in_doubt, error.retryable) == ("internal", method == "POST", False)
    assert "Attempt 1 of charge in run r_1 failed inside" in caplog.text


async def test_a_failure_inside_before_anything_was_sent_is_definite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_workflows.steps.http.render", lambda *_: 1 / 0)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    async with bench() as b:
        error = await b.failed("/ok", "POST")
    assert (error.code, error.in_doubt) == ("internal", False)


@pytest.mark.parametrize("work", [SetWork(template({})), WaitWork(seconds=1.0)])
async def test_work_that_needs_no_doing_is_refused(work: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    steps = Steps(Environment())
    outcome = await steps.attempt(StepCall("r", "s", 1, work, {}, "k", None))
    assert isinstance(outcome, Failed)
    assert outcome.error.code == "internal"
    await steps.close()


async def test_so_many_at_once_to_one_host_and_the_others_wait_their_turn() -> None:
    async with bench(max_per_host=3) as b:
        tasks = [asyncio.create_task(b.attempt("/gate", "POST", key=f"k{n}")) for n in range(8)]
        await b.service.arrived(3)
        await asyncio.sleep(0.05)
        assert len(b.service.calls) == 3
        b.service.open_gate()
        assert all(isinstance(outcome, Completed) for outcome in await asyncio.gather(*tasks))


async def test_time_in_the_crowd_does_not_count_against_the_attempt() -> None:
    async with bench(max_per_host=1) as b:
        first = asyncio.create_task(b.attempt("/gate", "POST"))
        await b.service.arrived(1)
        second = asyncio.create_task(b.attempt("/gate", "POST", timeout=0.3))
        await asyncio.sleep(0.5)
        b.service.open_gate()
        assert isinstance(await first, Completed)
        assert isinstance(await second, Completed)


async def test_an_attempt_that_gets_its_place_late_is_timed_from_there() -> None:
    async with bench(max_per_host=1) as b:
        first = asyncio.create_task(b.attempt("/gate", "POST"))
        await b.service.arrived(1)
        second = asyncio.create_task(b.failed("/hang", "POST", timeout=0.2))
        await asyncio.sleep(0.3)
        b.service.open_gate()
        await first
        assert (await second).code == "timeout"


async def test_whoever_is_cancelled_while_waiting_gives_the_place_on() -> None:
    gate = Gate(1)
    assert gate.enter("host")
    waiting = [asyncio.create_task(gate.wait("host")) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    gate.leave("host")
    waiting[1].cancel()  # it has the place already, but has not run since
    await asyncio.wait_for(waiting[2], 1)
    gate.leave("host")
    assert gate.enter("host")
    gate.leave("host")
    assert gate == gate
    assert vars(gate) == {"_places": 1, "_busy": {}, "_waiting": {}}


async def test_steps_may_be_closed_twice_and_without_having_been_used() -> None:
    steps = Steps(Environment())
    await steps.close()
    async with bench() as b:
        await b.completed("/ok")
        await b.steps.close()
        await b.steps.close()
        await b.completed("/ok")
