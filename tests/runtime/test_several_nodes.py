"""Several nodes on one database: each answers for runs of the others, whatever its clock says, and idle ones are quiet."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import event

from mcp_workflows import app as composition
from mcp_workflows.app import App, Role, built_app
from mcp_workflows.clock import Clock, utc_now
from mcp_workflows.engine.outcome import Completed, Failed, StepError
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.runtime.views import RunQuery
from mcp_workflows.settings import Settings
from mcp_workflows.store import listener
from tests.runtime.doer import Doer
from tests.store.raw import ask

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]

WORKFLOWS = """
name: call
description: One call.
on_failure: pause
steps:
  - id: pay
    retry: {max_attempts: 1}
    http: {method: POST, url: "http://127.0.0.1:1/pay"}
---
name: ask
description: One question, asked for ever.
steps:
  - id: decide
    approval: {message: "Go on?", by: anyone}
output: ${steps.decide.output.decision}
---
name: nap
description: Waits for a moment, longer than a node holds on to it.
steps:
  - wait: 7s
"""


@asynccontextmanager
async def node(folder: Path, *, clock: Clock = utc_now, max_runs: int = 2000) -> AsyncGenerator[tuple[App, Doer]]:
    for number, text in enumerate(WORKFLOWS.split("---\n")):
        (folder / f"{number}.yaml").write_text(text)
    settings = Settings.load(definitions=(folder,), max_runs=max_runs)
    async with built_app(settings, role=Role.SERVER, clock=clock) as app:
        doer = Doer()
        app.node._doer = doer
        async with app.moving():
            yield app, doer


async def held(app: App, doer: Doer) -> str:
    """A run that ``app`` moves, in the middle of its call."""
    run_id = (await app.runs.start("call", {}, actor="me")).run_id
    await doer.asked.wait()
    return run_id


async def ends_seen_from_elsewhere(folder: Path, *, others: int = 1) -> float:
    """Seconds from the end's commit on the node that moves a run to the last answer of those who wait on another one."""
    async with node(folder) as (one, doer), node(folder) as (two, _):
        run_id = await held(one, doer)
        waits = [asyncio.create_task(two.runs.wait(run_id, actor="me", seconds=30)) for _ in range(others)]
        while run_id not in two.node.watches:  # noqa: ASYNC110  (until they watch)
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)  # so that what was told before is over
        with_one = asyncio.create_task(one.runs.wait(run_id, actor="me", seconds=30))
        doer.answer.set()
        await with_one
        committed = time.monotonic()
        views = await asyncio.gather(*waits)
        took = time.monotonic() - committed
        assert {view.status for view in views} == {RunStatus.COMPLETED}
        return took


async def test_who_waits_on_another_node_is_answered_as_soon_as_a_run_has_ended(tmp_path: Path) -> None:
    assert min([await ends_seen_from_elsewhere(tmp_path) for _ in range(3)]) < 0.1


def _tells_nobody(_listener: object) -> None:
    return


async def test_who_waits_on_a_node_that_hears_nothing_is_answered_within_about_a_second(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if url.startswith("sqlite"):
        pytest.skip("nothing has to be heard: a commit is seen in the file")
    monkeypatch.setattr(listener.Listener, "tell", _tells_nobody)
    assert await ends_seen_from_elsewhere(tmp_path, others=20) < 3 * listener.LOOK_SECONDS


async def test_a_run_is_listed_answered_resumed_and_cancelled_on_a_node_that_does_not_move_it(tmp_path: Path) -> None:
    async with node(tmp_path) as (one, doer), node(tmp_path, max_runs=1) as (two, _):
        two.node._reserved = 1  # it moves nothing itself
        failing = await held(one, doer)
        [listed] = (await two.runs.list(RunQuery(status="open"))).runs
        assert (listed.run_id, listed.status, listed.owner) == (failing, RunStatus.RUNNING, one.store.node_id)
        doer.outcome = Failed(StepError("http_400", "no", in_doubt=False, retryable=False))
        doer.answer.set()
        view = await two.runs.wait(failing, actor="me", seconds=30)
        assert view.status is RunStatus.PAUSED
        doer.outcome = Completed({"status": 200, "headers": {}, "body": "paid"})
        await two.runs.resume(failing, actor="me", via="test", person=True, correction={})
        assert (await two.runs.wait(failing, actor="me", seconds=30)).status is RunStatus.COMPLETED

        asks = (await one.runs.start("ask", {}, actor="me")).run_id
        await two.runs.wait(asks, actor="me", seconds=30, known=())
        begun = time.monotonic()
        await two.runs.signal(asks, "decide", {"decision": "approved"}, actor="me", via="test", person=True)
        view = await two.runs.wait(asks, actor="me", seconds=30)
        assert (view.status, view.result) == (RunStatus.COMPLETED, "approved")
        assert time.monotonic() - begun < 5.0  # and not after the ten seconds for which an answer is waited for

        asks = (await one.runs.start("ask", {}, actor="me", idempotency_key="again")).run_id
        await two.runs.wait(asks, actor="me", seconds=30, known=())
        view = await two.runs.cancel(asks, actor="me", via="test")
        view = await two.runs.wait(asks, actor="me", seconds=30)
        assert view.status is RunStatus.CANCELLED


SECONDS = 6.0


async def test_an_idle_node_asks_the_database_little(tmp_path: Path, url: str) -> None:
    """And does so however many runs wait for something, and with whoever waits for them."""
    asked = [0]
    async with node(tmp_path) as (one, _), node(tmp_path) as (two, _):
        for number in range(20):
            await one.runs.start("ask", {}, actor="me", idempotency_key=str(number))
        run_id = (await one.runs.start("ask", {}, actor="me", idempotency_key="one")).run_id
        await one.runs.wait(run_id, actor="me", seconds=30, known=())
        waits = asyncio.create_task(two.runs.wait(run_id, actor="me", seconds=60))
        await asyncio.sleep(2.0)  # until the last of them is let go, and nothing is left to be told

        @event.listens_for(two.store._reads._engine, "before_cursor_execute")
        def count(*_: object) -> None:
            asked[0] += 1

        beats = _beats(url)
        used = time.process_time()
        await asyncio.sleep(SECONDS)
        used = time.process_time() - used
        committed = _beats(url) - beats
        waits.cancel()
    assert asked[0] / SECONDS < 20  # statements of one node that reads
    assert committed / SECONDS < 2  # of both, commits
    assert used / SECONDS < 0.15  # of both, and of this test, of one processor


def _beats(url: str) -> int:
    return int(ask(url, "SELECT sum(beat) FROM node WHERE ended_at IS NULL")[0][0])


def shifted(hours: float) -> Clock:
    def clock() -> datetime:
        return utc_now() + timedelta(hours=hours)

    return clock


@pytest.mark.parametrize("hours", [-1, 1], ids=["behind", "ahead"])
async def test_a_node_whose_clock_is_an_hour_off_takes_over_and_starts_and_takes_messages_at_once(
    tmp_path: Path, hours: int
) -> None:
    begun = time.monotonic()
    async with node(tmp_path) as (right, doer):
        taken_over = await held(right, doer)
        asks = (await right.runs.start("ask", {}, actor="me")).run_id
        await right.runs.wait(asks, actor="me", seconds=30, known=())
    async with node(tmp_path, clock=shifted(hours)) as (wrong, doer):
        doer.answer.set()
        assert (await wrong.runs.wait(taken_over, actor="me", seconds=30)).status is RunStatus.COMPLETED
        await wrong.runs.signal(asks, "decide", {"decision": "approved"}, actor="me", via="test", person=True)
        view = await wrong.runs.wait(asks, actor="me", seconds=30)
        assert (view.status, view.result) == (RunStatus.COMPLETED, "approved")
        settings = Settings.load(definitions=(tmp_path,))
        async with built_app(settings, role=Role.STARTER) as starter:
            left = (await starter.runs.start("call", {}, actor="me", idempotency_key="k")).run_id
        view = await wrong.runs.wait(left, actor="me", seconds=30)
        assert view.status is RunStatus.COMPLETED
        await wrong.runs.trace(left, actor="me")
    assert time.monotonic() - begun < 40


async def test_a_clock_set_back_an_hour_while_a_node_runs_stops_nothing_but_timers(tmp_path: Path) -> None:
    off = [timedelta()]
    async with node(tmp_path, clock=lambda: utc_now() + off[0]) as (app, doer):
        naps = (await app.runs.start("nap", {}, actor="me")).run_id
        before = await held(app, doer)
        off[0] = -timedelta(hours=1)
        doer.answer.set()
        view = await app.runs.wait(before, actor="me", seconds=30)
        assert view.status is RunStatus.COMPLETED
        after = (await app.runs.start("call", {}, actor="me", idempotency_key="after")).run_id
        assert (await app.runs.wait(after, actor="me", seconds=30)).status is RunStatus.COMPLETED
        assert (await app.runs.get(naps, actor="me")).status is RunStatus.WAITING
        off[0] = timedelta(hours=1)
        assert (await app.runs.wait(naps, actor="me", seconds=30)).status is RunStatus.COMPLETED


def _same_name(_role: Role) -> str:
    return "1 on web"


async def test_two_nodes_of_one_name_are_two_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of containers that are all process 1 of a host of the same name."""
    monkeypatch.setattr(composition, "_node_name", _same_name)
    async with node(tmp_path) as (one, doer):
        async with node(tmp_path) as (two, _):
            run_id = await held(one, doer)
            assert [server.name for server in await one.servers()] == ["1 on web"] * 2
            assert one.store.node_id != two.store.node_id
            assert (await two.runs.get(run_id, actor="me")).owner == one.store.node_id
        doer.answer.set()  # that one left is not taken for the other
        assert (await one.runs.wait(run_id, actor="me", seconds=30)).status is RunStatus.COMPLETED
