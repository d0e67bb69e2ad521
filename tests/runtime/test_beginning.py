"""How a run begins: what it comes to at once is recorded with it, and whatever that is, the run is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcp_workflows.app import App, Role, built_app
from mcp_workflows.engine.records import Turn
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.errors import RecordRefused
from mcp_workflows.settings import Settings
from mcp_workflows.store import NewRun, StartResult, Store

pytestmark = pytest.mark.anyio

COMPUTES = """
name: computes
description: Only computes.
input: {required: [n], properties: {n: {type: integer}}}
mcp: {join: "off"}
on_failure: fail
steps:
  - {id: one, set: {n: "${input.n + 1}"}}
  - {id: two, when: "${input.n > 0}", set: {n: "${100 / (steps.one.output.n - 10)}"}}
output: {n: "${steps.one.output.n}"}
"""


async def started(app: App, n: int) -> tuple[RunStatus, list[tuple[str, str]]]:
    view = await app.runs.start("computes", {"n": n}, actor="test")
    trace = await app.runs.trace(view.run_id, actor="test")
    assert trace.run.status is view.status, "what is said of it is what is recorded"
    return view.status, [(step.path, str(step.status)) for step in trace.steps]


@pytest.fixture
def settings(tmp_path: Path, url: str) -> Settings:
    (tmp_path / "computes.yaml").write_text(COMPUTES, "utf-8")
    return Settings.load(definitions=(tmp_path / "computes.yaml",), database_url=url)


async def test_a_run_that_only_computes_has_ended_when_it_is_started(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def record(_store: Store, turn: Turn) -> None:
        raise AssertionError(f"{turn} was not recorded with the run itself")

    monkeypatch.setattr(Store, "record", record)
    async with built_app(settings, role=Role.SERVER) as app:
        assert await started(app, 1) == (RunStatus.COMPLETED, [("one", "completed"), ("two", "completed")])
        assert await started(app, 0) == (RunStatus.COMPLETED, [("one", "completed"), ("two", "skipped")])
        assert await started(app, 9) == (RunStatus.FAILED, [("one", "completed"), ("two", "failed")])


async def test_a_run_that_has_ended_at_once_is_found_by_its_key(settings: Settings) -> None:
    async with built_app(settings, role=Role.SERVER) as app:
        first = await app.runs.start("computes", {"n": 1}, actor="test", idempotency_key="k")
        again = await app.runs.start("computes", {"n": 1}, actor="test", idempotency_key="k")
    assert (again.run_id, again.joined, again.result) == (first.run_id, True, {"n": 2})


async def test_a_run_whose_end_is_refused_is_there_all_the_same(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Store.start

    async def start(store: Store, new: NewRun, *, max_queued: int | None = None) -> StartResult:
        if new.ended is not None:
            raise RecordRefused("not that")
        return await original(store, new, max_queued=max_queued)

    monkeypatch.setattr(Store, "start", start)
    async with built_app(settings, role=Role.SERVER) as app:
        view = await app.runs.start("computes", {"n": 1}, actor="test")
        view = await app.runs.wait(view.run_id, actor="test", seconds=20)
        assert (view.status, view.result) == (RunStatus.COMPLETED, {"n": 2})
