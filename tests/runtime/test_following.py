"""Who follows a run hears of all that is recorded of it, whichever node moves it, and of nothing else."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mcp_workflows.app import App, Role, built_app
from mcp_workflows.engine.outcome import Completed, Failed, Outcome, StepCall, StepError
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.errors import UnknownRun
from mcp_workflows.runtime.abilities import Limits
from mcp_workflows.settings import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

STEPS = """
name: steps
description: One step after the other.
steps:
  - id: a
    http: {method: POST, url: "http://127.0.0.1:1/a"}
  - id: ask
    signal: {name: go}
  - id: b
    http: {method: POST, url: "http://127.0.0.1:1/b"}
    retry: {max_attempts: 2, delay: 1h, jitter: false}
"""


class Doer:
    """Answers a call when it is let go, and each in turn."""

    def __init__(self) -> None:
        self.called: asyncio.Queue[str] = asyncio.Queue()
        self.go: asyncio.Queue[str | None] = asyncio.Queue()

    async def attempt(self, call: StepCall) -> Outcome:
        self.called.put_nowait(call.path)
        code = await self.go.get()
        if code is None:
            return Completed({"status": 200, "headers": {}, "body": call.path})
        return Failed(StepError(code, "no", retryable=True))


class Ear:
    def __init__(self) -> None:
        self.heard = asyncio.Event()

    def __call__(self) -> None:
        self.heard.set()

    async def news(self) -> None:
        async with asyncio.timeout(20):
            await self.heard.wait()
        self.heard.clear()


@asynccontextmanager
async def two_nodes(folder: Path) -> AsyncGenerator[tuple[App, App, Doer]]:
    """The first node moves every run, the second has no place for any."""
    (folder / "steps.yaml").write_text(STEPS)
    settings = Settings.load(definitions=(folder,))
    doer = Doer()
    async with built_app(settings, role=Role.SERVER) as one, built_app(settings, role=Role.SERVER) as two:
        one.node._doer = doer
        two.node._limits = Limits(runs=0)
        async with one.moving(), two.moving():
            yield one, two, doer


@pytest.mark.parametrize("follower", ["the node that moves it", "another node"])
async def test_who_follows_a_run_hears_of_each_step_attempt_message_and_end(tmp_path: Path, follower: str) -> None:
    async with two_nodes(tmp_path) as (one, two, doer):
        runs = (one if follower == "the node that moves it" else two).runs
        run_id = (await one.runs.start("steps", {}, actor="ada")).run_id
        assert await doer.called.get() == "a"
        ear = Ear()
        stop = await runs.follow(run_id, ear, actor="ada")

        async def heard(path: str, status: str, attempts: int = 0) -> None:
            while True:
                steps = {step.path: step for step in (await runs.trace(run_id, actor="ada")).steps}
                if path in steps and (steps[path].status, steps[path].attempts >= attempts) == (status, True):
                    return
                await ear.news()

        doer.go.put_nowait(None)
        await heard("a", "completed")
        await heard("ask", "waiting")
        await one.runs.signal(run_id, "go", {}, actor="ada", via="test", person=False)
        await heard("ask", "completed")
        doer.go.put_nowait("503")
        await heard("b", "waiting", attempts=1)
        await one.runs.cancel(run_id, actor="ada", via="test")
        while (await runs.get(run_id, actor="ada")).status is not RunStatus.CANCELLED:
            await ear.news()
        stop()


async def test_nothing_is_heard_of_other_runs_nor_after_the_end(tmp_path: Path) -> None:
    async with two_nodes(tmp_path) as (one, two, doer):
        first = (await one.runs.start("steps", {}, actor="ada")).run_id
        assert await doer.called.get() == "a"
        other = (await one.runs.start("steps", {}, actor="bob")).run_id
        of_first, of_other = Ear(), Ear()
        stop = await two.runs.follow(first, of_first, actor="ada")
        await two.runs.follow(other, of_other, actor="bob")
        doer.go.put_nowait(None)
        await of_first.news()
        stop()
        doer.go.put_nowait(None)
        await of_other.news()
        assert not of_first.heard.is_set()


async def test_a_foreign_run_cannot_be_followed_and_seems_not_to_be_there(tmp_path: Path) -> None:
    async with two_nodes(tmp_path) as (one, two, _):
        run_id = (await one.runs.start("steps", {}, actor="ada")).run_id
        with pytest.raises(UnknownRun) as foreign:
            await two.runs.follow(run_id, Ear(), actor="bob")
        with pytest.raises(UnknownRun) as unknown:
            await two.runs.follow("r_00000000000000000000000000", Ear(), actor="bob")
        assert str(foreign.value).replace(run_id, "") == str(unknown.value).replace("r_00000000000000000000000000", "")
