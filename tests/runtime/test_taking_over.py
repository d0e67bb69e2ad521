"""Many runs are taken over at once, and each stands for itself all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from mcp_workflows.app import Role, built_app
from mcp_workflows.engine.records import StepRecord
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.runtime import node, taking
from mcp_workflows.settings import Settings

pytestmark = pytest.mark.anyio

ADDS = """
name: adds
description: Adds one.
input: {required: [n], properties: {n: {type: integer}}}
steps:
  - {id: one, set: {n: "${input.n + 1}"}}
output: ${steps.one.output.n}
"""


def settings(folder: Path) -> Settings:
    (folder / "adds.yaml").write_text(ADDS)
    return Settings.load(definitions=(folder,))


async def started(folder: Path, number: int) -> list[str]:
    """Runs that nobody moves yet."""
    async with built_app(settings(folder), role=Role.STARTER) as app:
        return [
            view.run_id
            for view in await asyncio.gather(*(app.runs.start("adds", {"n": n}, actor="test") for n in range(number)))
        ]


async def test_more_runs_than_are_begun_at_once_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "CLAIM", 5)
    monkeypatch.setattr(taking, "BEGUN_AT_ONCE", 10)
    run_ids = await started(tmp_path, 5 + 2 * 10 + 3)
    async with built_app(settings(tmp_path), role=Role.SERVER) as app, app.moving():
        for n, run_id in enumerate(run_ids):
            view = await app.runs.wait(run_id, actor="test", seconds=60)
            assert (view.status, view.result) == (RunStatus.COMPLETED, n + 1)


async def test_a_run_that_cannot_be_read_is_left_to_others_and_those_beside_it_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    *good, bad = await started(tmp_path, 20)
    async with built_app(settings(tmp_path), role=Role.SERVER) as app:
        load_lists = app.store.load_lists

        async def load_but_one(wanted: Mapping[str, Collection[str]]) -> dict[str, list[StepRecord]]:
            assert bad not in wanted, "this run cannot be read"
            return await load_lists(wanted)

        app.store.load_lists = load_but_one
        async with app.moving():
            for n, run_id in enumerate(good):
                view = await app.runs.wait(run_id, actor="test", seconds=60)
                assert (view.status, view.result) == (RunStatus.COMPLETED, n + 1)
            seen = app.store.change
            while (await app.store.load_run(bad) or pytest.fail("it is gone")).owner is not None:
                seen = await app.store.wait_for_change(seen)
            assert [one.getMessage() for one in caplog.records if one.name == taking.__name__] == [
                f"run {bad} is left to other nodes"
            ]
    async with built_app(settings(tmp_path), role=Role.SERVER) as app, app.moving():
        assert (await app.runs.wait(bad, actor="test", seconds=60)).status is RunStatus.COMPLETED
