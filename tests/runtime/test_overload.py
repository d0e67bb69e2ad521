"""More starts than there is room for: none is lost, each waits its turn, and there is an end to how many may wait."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from mcp_workflows.app import App, Role, built_app
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.errors import Busy
from mcp_workflows.runtime.views import RunQuery
from mcp_workflows.settings import Settings
from tests.services.counting import Rule, counting_service

pytestmark = pytest.mark.anyio

SUM = """
name: sum
description: Computes, and calls nobody.
input: {required: [n], properties: {n: {type: integer}}}
steps:
  - set: {twice: "${input.n * 2}"}
"""


def define(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def calling(name: str, url: str) -> str:
    """A definition that makes one call and ends."""
    return f"""
name: {name}
description: Calls a service.
input: {{required: [n], properties: {{n: {{type: integer}}}}}}
steps:
  - id: call
    http: {{method: POST, url: "{url}/call", json: {{n: "${{input.n}}"}}}}
"""


async def ended(app: App, run_ids: list[str]) -> Counter[RunStatus]:
    return Counter(await asyncio.gather(*(_end(app, run_id) for run_id in run_ids)))


async def _end(app: App, run_id: str) -> RunStatus:
    while not (view := await app.runs.wait(run_id, actor="test", seconds=60)).status.finished:
        pass
    return view.status


async def test_of_a_thousand_starts_at_once_on_a_small_node_none_is_lost(tmp_path: Path) -> None:
    settings = Settings.load(definitions=(define(tmp_path, sum=SUM),), max_runs=16)
    async with built_app(settings, role=Role.SERVER) as app, app.moving():
        views = await asyncio.gather(*(app.runs.start("sum", {"n": n}, actor="test") for n in range(1000)))
        assert RunStatus.PENDING in {view.status for view in views}
        assert await ended(app, [view.run_id for view in views]) == {RunStatus.COMPLETED: 1000}
        assert len({view.run_id for view in views}) == 1000


async def test_beyond_the_bound_nothing_is_started_and_what_is_there_already_is_still_found(tmp_path: Path) -> None:
    settings = Settings.load(definitions=(define(tmp_path, sum=SUM),), max_runs=1, max_queued_runs=5)
    async with built_app(settings, role=Role.SERVER) as app:
        tries = await asyncio.gather(
            *(app.runs.start("sum", {"n": n}, actor="test", idempotency_key=f"k{n}") for n in range(20)),
            return_exceptions=True,
        )
        begun = [one for one in tries if not isinstance(one, BaseException)]
        assert [type(one) for one in tries if isinstance(one, BaseException)] == [Busy] * 14
        assert Counter(view.status for view in begun) == {RunStatus.COMPLETED: 1, RunStatus.PENDING: 5}
        page = await app.runs.list(RunQuery(status="any", limit=100))
        assert {run.run_id for run in page.runs} == {view.run_id for view in begun}
        joined = await app.runs.start("sum", {"n": 3}, actor="test", idempotency_key="k3")
        assert (joined.run_id, joined.joined) == (begun[3].run_id, True)
        async with app.moving():
            await ended(app, [view.run_id for view in begun])
            await app.runs.start("sum", {"n": 100}, actor="test")


async def test_those_that_wait_come_before_those_that_are_started_after_them(tmp_path: Path) -> None:
    async with counting_service() as service:
        settings = Settings.load(definitions=(define(tmp_path, call=calling("call", service.url)),), max_runs=2)
        async with built_app(settings, role=Role.SERVER) as app, app.moving():
            service.rule("/call", Rule(hold=True))
            views = [await app.runs.start("call", {"n": n}, actor="test") for n in range(6)]
            await service.seen(lambda: len(service.calls) == 2)
            await service.lift("/call")
            late = await app.runs.start("call", {"n": 6}, actor="test")
            await ended(app, [view.run_id for view in (*views, late)])
            assert (
                6 in [call.body["n"] for call in service.calls][-2:]
            )  # at most one that began before it may call after it


async def test_no_more_attempts_are_in_flight_than_the_node_is_allowed(tmp_path: Path) -> None:
    async with counting_service(0.02) as service:
        settings = Settings.load(definitions=(define(tmp_path, call=calling("call", service.url)),), max_attempts=3)
        async with built_app(settings, role=Role.SERVER) as app, app.moving():
            views = [await app.runs.start("call", {"n": n}, actor="test") for n in range(12)]
            assert await ended(app, [view.run_id for view in views]) == {RunStatus.COMPLETED: 12}
    assert service.most_at_once == 3


async def test_no_more_attempts_are_in_flight_to_one_host_than_allowed(tmp_path: Path) -> None:
    async with counting_service(0.02) as one, counting_service(0.02) as other:
        define(tmp_path, one=calling("one", one.url), other=calling("other", other.url))
        settings = Settings.load(definitions=(tmp_path,), max_attempts_per_host=2)
        async with built_app(settings, role=Role.SERVER) as app, app.moving():
            views = [await app.runs.start(("one", "other")[n % 2], {"n": n}, actor="test") for n in range(24)]
            assert await ended(app, [view.run_id for view in views]) == {RunStatus.COMPLETED: 24}
    assert (one.most_at_once, other.most_at_once) == (2, 2)
