"""Resuming nested steps, and messages that come late: what was meant for one failure does nothing to another."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mcp_workflows.app import App, Role, built_app
from mcp_workflows.clock import utc_now
from mcp_workflows.errors import RunRefused
from mcp_workflows.runtime.views import RunView
from mcp_workflows.settings import Settings

pytestmark = pytest.mark.anyio

NESTED = """
name: shares
description: Divides among the parts of every order, and stops where there is nothing to divide by.
input: {properties: {parts: {type: array, items: {type: integer}, default: [1, 0, 2]}}}
on_failure: pause
steps:
  - id: orders
    for_each:
      items: ${input.parts}
      as: part
      steps:
        - id: way
          switch:
            - when: ${part < 5}
              steps:
                - id: share
                  set: {value: "${10 / part}"}
            - else:
                - id: none
                  set: {value: 0}
output: ${steps.orders.output}
"""

SHARED = """
name: shared
description: Says how much each of them has, and stops where there is nobody.
input: {properties: {total: {type: integer, default: 6}, among: {type: integer, default: 0}}}
on_failure: pause
steps:
  - id: total
    set: {value: "${input.total}"}
output: ${steps.total.output.value / input.among}
"""


@asynccontextmanager
async def opened(folder: Path, text: str) -> AsyncGenerator[App]:
    (folder / "one.yaml").write_text(text)
    settings = Settings.load(definitions=(folder,))
    async with built_app(settings, role=Role.SERVER) as app, app.moving():
        yield app


async def paused(app: App) -> RunView:
    view = await app.runs.start("shares", {}, actor="test")
    view = await app.runs.wait(view.run_id, actor="test", seconds=20)
    assert view.status == "paused"
    assert view.error is not None
    assert view.error.step == "orders[1].way.when1.share"
    return view


async def test_a_step_deep_inside_is_given_its_output_and_the_run_goes_on(tmp_path: Path) -> None:
    async with opened(tmp_path, NESTED) as app:
        run_id = (await paused(app)).run_id
        await app.runs.resume(run_id, actor="test", via="test", person=True, correction={"output": {"value": 7}})
        view = await app.runs.wait(run_id, actor="test", seconds=20)
        assert (view.status, view.result) == ("completed", [{"value": 10}, {"value": 7}, {"value": 5}])
        (message,) = (await app.runs.trace(run_id, actor="test")).messages
        assert message.body == {
            "path": "orders[1].way.when1.share",
            "generation": 1,
            "output": {"value": 7},
            "via": "test",
        }


async def test_what_a_step_deep_inside_does_not_allow_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path, NESTED) as app:
        run_id = (await paused(app)).run_id
        with pytest.raises(RunRefused, match="again is only for a step that must run at most once"):
            await app.runs.resume(run_id, actor="test", via="test", person=True, correction={"again": True})
        with pytest.raises(Exception, match="this step has no request that could be corrected"):
            await app.runs.resume(run_id, actor="test", via="test", person=True, correction={"request": {"json": {}}})
        assert (await app.runs.get(run_id, actor="test")).status == "paused"


async def test_a_resume_that_was_made_for_an_earlier_failure_changes_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path, NESTED) as app:
        run_id = (await paused(app)).run_id
        await app.runs.resume(
            run_id, actor="test", via="test", person=True, correction={}
        )  # the same again, which fails again
        view = await app.runs.wait(run_id, actor="test", seconds=20)
        assert view.status == "paused"
        late = {"path": "orders[1].way.when1.share", "generation": 1, "output": {"value": 0}}
        with app.node.watches.on(run_id) as watch:
            delivered = await app.store.deliver(run_id, "resume", late, actor="late", reason=None, now=utc_now())
            app.node.stir()
            while not await app.store.consumed(delivered.message_id):
                await watch.news()
        assert (await app.runs.get(run_id, actor="test")).status == "paused"
        (step,) = [row for row in await app.store.load_steps(run_id) if row.path == late["path"]]
        assert (step.status, step.generation) == ("failed", 2)


async def test_a_resume_that_was_made_for_an_earlier_failure_of_no_step_changes_nothing(tmp_path: Path) -> None:
    """The output of the run fails, which is no step's failure: two people see it, and each gives another input."""
    async with opened(tmp_path, SHARED) as app:
        run_id = (await app.runs.start("shared", {}, actor="test")).run_id
        assert (await app.runs.wait(run_id, actor="test", seconds=20)).status == "paused"
        await app.runs.resume(run_id, actor="test", via="test", person=True, correction={"input": {"total": 7}})
        view = await app.runs.wait(run_id, actor="test", seconds=20)
        assert view.status == "paused", "it fails the same way"
        (first,) = (await app.runs.trace(run_id, actor="test")).messages
        late = {**first.body, "input": {"among": 2}}
        with app.node.watches.on(run_id) as watch:
            delivered = await app.store.deliver(run_id, "resume", late, actor="b", reason=None, now=utc_now())
            app.node.stir()
            while not await app.store.consumed(delivered.message_id):
                await watch.news()
        assert (await app.runs.get(run_id, actor="test")).status == "paused"
        await app.runs.resume(run_id, actor="test", via="test", person=True, correction={"input": {"among": 2}})
        assert (await app.runs.wait(run_id, actor="test", seconds=20)).result == 3
