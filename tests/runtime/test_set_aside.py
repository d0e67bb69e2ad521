"""One run that cannot be moved is set aside with all that is known of it; the others go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mcp_workflows.app import App, Role, built_app
from mcp_workflows.clock import utc_now
from mcp_workflows.engine.machine import Machine
from mcp_workflows.engine.outcome import Completed, Outcome, StepCall
from mcp_workflows.engine.records import Message
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.runtime.views import RunView
from mcp_workflows.settings import Settings
from tests.store.raw import ask

pytestmark = pytest.mark.anyio

ONE_CALL = """
name: one_call
description: One call, whose answer is the run's.
input: {required: [n], properties: {n: {type: integer}}}
steps:
  - id: pay
    retry: {max_attempts: 1}
    http: {method: POST, url: "http://127.0.0.1:1/pay", json: {n: "${input.n}"}}
"""

WAITS = """
name: waits
description: Waits for a word.
steps:
  - id: word
    signal: {name: word}
"""

Answer = Callable[[StepCall], Outcome]


class Doer:
    """Answers without a network."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.calls: list[StepCall] = []

    async def attempt(self, call: StepCall) -> Outcome:
        self.calls.append(call)
        return self.answer(call)


@asynccontextmanager
async def serving(folder: Path, answer: Answer) -> AsyncGenerator[App]:
    (folder / "one_call.yaml").write_text(ONE_CALL)
    (folder / "waits.yaml").write_text(WAITS)
    settings = Settings.load(definitions=(folder,))
    async with built_app(settings, role=Role.SERVER) as app:
        app.node._doer = Doer(answer)  # pyright: ignore[reportPrivateUsage]
        async with app.moving():
            yield app


async def ended(app: App, n: int) -> RunView:
    view = await app.runs.start("one_call", {"n": n}, actor="test")
    return await app.runs.wait(view.run_id, actor="test", seconds=20)


def good(_call: StepCall) -> Outcome:
    return Completed({"status": 200, "headers": {}, "body": "good"})


def poisonous_first(call: StepCall) -> Outcome:
    """What the first run is answered is no JSON, so that no database takes it."""
    first = call.values["input"] == {"n": 1}
    return Completed({"status": 200, "headers": {}, "body": float("nan")}) if first else good(call)


async def test_a_result_that_cannot_be_recorded_pauses_its_run_in_doubt_and_no_other(tmp_path: Path) -> None:
    async with serving(tmp_path, poisonous_first) as app:
        poisoned, other = await ended(app, 1), await ended(app, 2)
        assert other.status is RunStatus.COMPLETED
        assert poisoned.status is RunStatus.PAUSED
        assert poisoned.error is not None
        assert (poisoned.error.code, poisoned.error.step, poisoned.error.in_doubt) == ("record_refused", "pay", True)
        resumed = await app.runs.resume(
            poisoned.run_id, actor="test", via="test", person=True, correction={"output": "found out"}
        )
        assert (await app.runs.wait(resumed.run_id, actor="test", seconds=20)).result == "found out"


async def test_cancelling_a_run_whose_result_could_not_be_recorded_names_the_step_as_not_undone(tmp_path: Path) -> None:
    async with serving(tmp_path, poisonous_first) as app:
        poisoned = await ended(app, 1)
        view = await app.runs.cancel(poisoned.run_id, actor="test", via="test")
    assert (view.status, view.compensation) == (RunStatus.FAILED, "incomplete")
    assert [one.path for one in view.not_undone] == ["pay"]


async def test_an_attempt_that_fails_unexpectedly_is_in_doubt(tmp_path: Path) -> None:
    def broken(_call: StepCall) -> Outcome:
        raise LookupError("a defect")

    async with serving(tmp_path, broken) as app:
        view = await ended(app, 1)
    assert view.compensation == "incomplete"
    assert view.error is not None
    assert (view.error.code, view.error.step, view.error.in_doubt) == ("internal", "pay", True)


@pytest.mark.parametrize("method", ["begin", "attempt_ended"])
@pytest.mark.parametrize("full", [False, True])
async def test_a_defect_in_deciding_sets_its_run_aside_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, full: bool
) -> None:
    """``full``: the run is begun by way of the database, where it is pending."""
    original = getattr(Machine, method)

    def defective(self: Machine, *arguments: object) -> None:
        assert self.values.input != {"n": 1}, "a defect"
        original(self, *arguments)

    monkeypatch.setattr(Machine, method, defective)
    async with serving(tmp_path, good) as app:
        with monkeypatch.context() as patch:
            if full:
                patch.setattr(app.node, "reserve", lambda: False)
            view = await app.runs.start("one_call", {"n": 1}, actor="test")
        view = await app.runs.wait(view.run_id, actor="test", seconds=20)
        assert (await ended(app, 2)).status is RunStatus.COMPLETED
    assert view.status is RunStatus.PAUSED
    assert view.error is not None
    assert (view.error.code, view.error.in_doubt) == ("internal", method == "attempt_ended")


async def test_a_run_whose_message_the_database_has_lost_before_it_was_recorded_is_set_aside_and_can_be_moved_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """As after a failover to a server that had not heard of it."""

    def lost_once_read(read: Callable[..., Awaitable[list[Message]]]) -> Callable[..., Awaitable[list[Message]]]:
        async def reading(*arguments: Any) -> list[Message]:
            found = await read(*arguments)
            await asyncio.to_thread(ask, url, "DELETE FROM inbox WHERE consumed_at IS NULL")
            return found

        return reading

    async with serving(tmp_path, good) as app, asyncio.timeout(40):
        run_id = (await app.runs.start("waits", {}, actor="test")).run_id
        with monkeypatch.context() as patch:
            for read in ("owned_messages", "load_unconsumed"):
                patch.setattr(app.store, read, lost_once_read(getattr(app.store, read)))
            asks: dict[str, Any] = {"compensate": True, "via": "test"}
            await app.store.deliver(run_id, "cancel", asks, actor="test", reason=None, now=utc_now())
            app.node.stir()
            view = await app.runs.wait(run_id, actor="test", seconds=30, known=["word"])
        assert view.status is RunStatus.PAUSED
        assert view.error is not None
        assert (view.error.code, view.error.in_doubt) == ("record_refused", False)
        assert (await app.runs.cancel(run_id, actor="test", via="test")).status is RunStatus.CANCELLED
