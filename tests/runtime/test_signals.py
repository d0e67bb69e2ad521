"""Answers and signals against the clock, the end of a run, and what the run was when they came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mcp_workflows.app import App, Role, built_app
from mcp_workflows.clock import Clock, utc_now
from mcp_workflows.errors import InputRefused, PersonNeeded, RunRefused, UnknownRun
from mcp_workflows.runtime.runs import Runs
from mcp_workflows.runtime.views import RunView
from mcp_workflows.settings import Settings

pytestmark = pytest.mark.anyio

ASK = """
name: ask
description: Asks whether to go on, for three days at most.
on_failure: pause
steps:
  - id: decide
    approval: {message: "Go on?", timeout: 3d}
"""

BOTH = """
name: both
description: Two steps wait for a signal of the same name.
steps:
  - id: two
    parallel:
      first:
        - id: small
          signal: {name: parcel, schema: {required: [weight], properties: {weight: {type: integer, maximum: 5}}}}
      second:
        - id: large
          signal: {name: parcel, schema: {required: [weight], properties: {weight: {type: integer, maximum: 5}}}}
output: ${steps.two.output}
"""

LOOP = """
name: rounds
description: Asks the same question again and again, until somebody says no.
steps:
  - id: rounds
    repeat:
      max_iterations: 3
      steps:
        - id: more
          approval: {message: "Another one?", by: anyone, on_reject: continue}
      until: ${steps.more.output.decision == "rejected"}
      collect: ${steps.more.output.decision}
"""


def later() -> datetime:
    return utc_now() + timedelta(days=4)


@asynccontextmanager
async def opened(folder: Path, text: str, *, role: Role = Role.SERVER, clock: Clock = utc_now) -> AsyncGenerator[App]:
    (folder / "definitions").mkdir(exist_ok=True)
    (folder / "definitions" / "one.yaml").write_text(text)
    settings = Settings.load(definitions=(folder / "definitions",))
    async with built_app(settings, role=role, clock=clock) as app, app.moving():
        yield app


async def begun(app: App, workflow: str) -> RunView:
    """Once it waits for something."""
    view = await app.runs.start(workflow, {}, actor="me")
    return await app.runs.wait(view.run_id, actor="me", seconds=20, known=())


async def send(runs: Runs, run_id: str, name: str, data: Any = None, **how: Any) -> RunView:
    given: dict[str, Any] = {"actor": "me", "via": "test", "person": True}
    return await runs.signal(run_id, name, data, **given | how)


async def test_an_answer_after_the_end_of_its_time_is_refused_though_no_server_saw_it_end(tmp_path: Path) -> None:
    async with opened(tmp_path, ASK) as app:
        run_id = (await begun(app, "ask")).run_id
    async with opened(tmp_path, ASK, role=Role.OBSERVER, clock=later) as app:
        with pytest.raises(RunRefused, match=rf"decide of {run_id} has expired at .* it can be answered no more"):
            await send(app.runs, run_id, "decide", {"decision": "approved"})
    async with opened(tmp_path, ASK, clock=later) as app:
        view = await app.runs.wait(run_id, actor="me", seconds=20)
        assert view.error is not None
        assert (view.status, view.error.code) == ("paused", "timeout")


async def test_an_answer_in_time_counts_though_the_server_comes_after_the_end_of_its_time(tmp_path: Path) -> None:
    async with opened(tmp_path, ASK) as app:
        run_id = (await begun(app, "ask")).run_id
        await app.node.leave()
        await app.store.rejoin()
        answer = {"path": "decide", "generation": 1, "decision": "approved", "via": "test"}
        await app.store.deliver(run_id, "answer", answer, actor="cli:anna", reason=None, now=utc_now())
    async with opened(tmp_path, ASK, clock=later) as app:
        view = await app.runs.wait(run_id, actor="me", seconds=20)
        assert view.status == "completed"


async def test_what_a_signal_holds_is_checked_and_each_of_the_steps_that_wait_for_it_takes_one(tmp_path: Path) -> None:
    async with opened(tmp_path, BOTH) as app:
        run_id = (await begun(app, "both")).run_id
        with pytest.raises(InputRefused, match="data refused: weight: 9 is too large, expected at most 5"):
            await send(app.runs, run_id, "parcel", {"weight": 9})
        view = await app.runs.get(run_id, actor="me")
        assert [wait.name for wait in view.waiting_for] == ["parcel", "parcel"]
        await send(app.runs, run_id, "parcel", {"weight": 1})
        await send(app.runs, run_id, "parcel", {"weight": 2})
        view = await app.runs.wait(run_id, actor="me", seconds=20)
        assert view.result == {"first": {"weight": 1}, "second": {"weight": 2}}


async def test_a_signal_that_nobody_defined_and_an_answer_before_its_question_are_refused(tmp_path: Path) -> None:
    text = ASK.replace("steps:", "steps:\n  - id: go\n    signal: {}\n")
    async with opened(tmp_path, text) as app:
        run_id = (await begun(app, "ask")).run_id
        with pytest.raises(
            RunRefused, match='does not wait for "decide" yet: an approval can be answered once it is asked'
        ):
            await send(app.runs, run_id, "decide", {"decision": "approved"})
        with pytest.raises(RunRefused, match=r'does not wait for "gone"\. It waits for: go\.'):
            await send(app.runs, run_id, "gone")
        with pytest.raises(RunRefused, match='does not wait for "go"'):
            await send(app.runs, run_id, "go", {"decision": "approved"}, decides=True)
        await send(app.runs, run_id, "go")
        view = await app.runs.wait(run_id, actor="me", seconds=20, known=())
        assert [wait.name for wait in view.waiting_for] == ["decide"]
        with pytest.raises(PersonNeeded):
            await send(app.runs, run_id, "decide", {"decision": "approved"}, person=False)


async def test_an_answer_to_one_round_is_none_to_the_next(tmp_path: Path) -> None:
    async with opened(tmp_path, LOOP) as app:
        run_id = (await begun(app, "rounds")).run_id
        await send(app.runs, run_id, "rounds[0].more", {"decision": "approved"}, person=False)
        view = await app.runs.wait(run_id, actor="me", seconds=20, known=())
        assert [wait.name for wait in view.waiting_for] == ["rounds[1].more"]
        with pytest.raises(RunRefused, match=r"more was answered by me at .* \(approved\)"):
            await send(app.runs, run_id, "rounds[0].more", {"decision": "rejected"})
        with pytest.raises(RunRefused, match=r'"more" stands in a loop of .* by its path: rounds\[1\]\.more'):
            await send(app.runs, run_id, "more", {"decision": "rejected"})
        await send(app.runs, run_id, "rounds[1].more", {"decision": "rejected"}, person=False)
        view = await app.runs.wait(run_id, actor="me", seconds=20)
        assert view.result == ["approved", "rejected"]


async def test_an_answer_to_one_wait_is_none_to_the_same_question_asked_again(tmp_path: Path) -> None:
    async with opened(tmp_path, ASK) as app:
        run_id = (await begun(app, "ask")).run_id
    yes: dict[str, Any] = {"decision": "approved"}
    how: dict[str, Any] = {"actor": "me", "via": "test", "person": True}
    async with opened(tmp_path, ASK, clock=later) as app:
        view = await app.runs.wait(run_id, actor="me", seconds=20)
        assert view.status == "paused"
        await app.runs.resume(run_id, actor="me", via="test", person=True, correction={})
        view = await app.runs.wait(run_id, actor="me", seconds=20, known=())
        assert [wait.key for wait in view.waiting_for] == ["decide#2"]
        with pytest.raises(RunRefused, match=r"decide of .* has expired|does not wait"):
            await app.runs.answer(run_id, "decide#1", yes, **how)
        assert (await app.runs.get(run_id, actor="me")).waits == ("decide",)
        with pytest.raises(UnknownRun):
            await app.runs.answer(run_id, "decide#2", yes, actor="you", via="test", person=True)
        with pytest.raises(PersonNeeded):
            await app.runs.answer(run_id, "decide#2", yes, actor="me", via="test", person=False)
        await app.runs.answer(run_id, "decide#2", yes, **how)
        with pytest.raises(RunRefused, match="decide was answered by me"):
            await app.runs.answer(run_id, "decide#2", yes, **how)
        view = await app.runs.wait(run_id, actor="me", seconds=20)
        assert (view.status, view.result["via"]) == ("completed", "test")


async def test_of_two_signals_for_one_wait_the_second_is_refused_and_not_kept_for_the_next(tmp_path: Path) -> None:
    async with opened(tmp_path, BOTH) as app:
        run_id = (await begun(app, "both")).run_id
        how: dict[str, Any] = {"actor": "me", "via": "test", "person": True}
        sent = [app.runs.answer(run_id, "two.first.small#1", {"weight": n}, **how) for n in (1, 2, 3)]
        answers = await asyncio.gather(*sent, return_exceptions=True)
        assert sum(isinstance(answer, RunRefused) for answer in answers) == 2
        view = await app.runs.get(run_id, actor="me")
        assert [wait.key for wait in view.waiting_for] == ["two.second.large#1"]
        with pytest.raises(InputRefused, match="weight: 9 is too large"):
            await app.runs.answer(run_id, "two.second.large#1", {"weight": 9}, **how)
        trace = await app.runs.trace(run_id, actor="me")
        (message,) = trace.messages
        assert (message.kind, message.actor, message.body["via"]) == ("signal", "me", "test")


async def test_the_run_of_somebody_else_is_unknown_to_a_program_and_known_to_the_person_at_the_terminal(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path, ASK) as app:
        run_id = (await begun(app, "ask")).run_id
        with pytest.raises(UnknownRun):
            await send(app.runs, run_id, "decide", {"decision": "approved"}, actor="you")
        await send(app.runs, run_id, "decide", {"decision": "approved"}, actor=None, by="cli:anna")
        view = await app.runs.wait(run_id, actor="me", seconds=20)
        assert view.result["by"] == "cli:anna"
        with pytest.raises(RunRefused, match="decide was answered by cli:anna"):
            await send(app.runs, run_id, "decide", {"decision": "approved"})


@pytest.mark.parametrize(
    "data", [[], "approved", 7, {"decision": "approved", "note": "x" * (1 << 20)}, {"decision": None}]
)
async def test_an_answer_of_another_shape_is_refused_and_the_run_still_waits(tmp_path: Path, data: Any) -> None:
    async with opened(tmp_path, ASK) as app:
        run_id = (await begun(app, "ask")).run_id
        with pytest.raises(InputRefused, match=r"^data refused: .* The run still waits\.$"):
            await send(app.runs, run_id, "decide", data)
        assert (await app.runs.get(run_id, actor="me")).waits == ("decide",)
