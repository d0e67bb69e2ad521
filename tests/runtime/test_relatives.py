"""A person may resume a child that failed, or its parent: what the one has done, the other does not do again."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mcp_workflows.app import App, Role, built_app
from mcp_workflows.engine.frames.child import child_id
from mcp_workflows.errors import RunRefused
from mcp_workflows.settings import Settings
from tests.services.counting import CountingService, Rule, counting_service

pytestmark = pytest.mark.anyio

CHILD = """
name: pay
description: Charges and ships, and stays as it is where it cannot ship.
vars: {SERVICE: "http://127.0.0.1:1"}
on_failure: fail
steps:
  - id: charge
    http: {method: POST, url: "${vars.SERVICE}/charge"}
    compensate:
      http: {method: POST, url: "${vars.SERVICE}/refund"}
  - id: ship
    http: {method: POST, url: "${vars.SERVICE}/ship"}
output: {charge: "${steps.charge.output.id}"}
"""
PARENT = """
name: order
description: Has an order paid by another workflow, then says thank you.
vars: {SERVICE: "http://127.0.0.1:1"}
on_failure: pause
steps:
  - id: paid
    workflow: {name: pay}
    output: "${result.charge}"
  - id: thanks
    http: {method: POST, url: "${vars.SERVICE}/thanks"}
output: ${steps.paid.output}
"""


@asynccontextmanager
async def stopped(folder: Path) -> AsyncGenerator[tuple[App, CountingService, str, str]]:
    """The app, its service, and a run that is paused because its child, which has charged, could not ship."""
    async with counting_service() as service:
        (folder / "pay.yaml").write_text(CHILD)
        (folder / "order.yaml").write_text(PARENT)
        settings = Settings.load(definitions=(folder,), vars={"SERVICE": service.url})
        service.rule("/ship", Rule(status=422))
        async with built_app(settings, role=Role.SERVER) as app, app.moving():
            run_id = (await app.runs.start("order", {}, actor="a")).run_id
            view = await app.runs.wait(run_id, actor="a", seconds=20)
            assert view.status == "paused"
            yield app, service, run_id, child_id(run_id, "paid", 1)


async def resumed(app: App, run_id: str) -> str:
    await app.runs.resume(run_id, actor="a", via="test", person=True, correction={})
    return (await app.runs.wait(run_id, actor="a", seconds=20)).status


async def test_a_parent_takes_the_result_of_its_child_that_was_resumed_and_starts_no_other(tmp_path: Path) -> None:
    async with stopped(tmp_path) as (app, service, run_id, child):
        await service.lift("/ship")
        assert await resumed(app, child) == "completed"
        assert await resumed(app, run_id) == "completed"
        view = await app.runs.get(run_id, actor="a")
        assert view.result == f"charge-{child}:charge"
        assert [call.key for call in service.made("/charge")] == [f"{child}:charge"], "charged once"


async def test_a_child_that_was_resumed_is_undone_with_its_parent(tmp_path: Path) -> None:
    async with stopped(tmp_path) as (app, service, run_id, child):
        await service.lift("/ship")
        assert await resumed(app, child) == "completed"
        with pytest.raises(RunRefused, match="has been resumed and completed since"):
            await app.runs.cancel(run_id, actor="a", via="test")
        service.rule("/thanks", Rule(status=422))
        assert await resumed(app, run_id) == "paused"
        await app.runs.cancel(run_id, actor="a", via="test")
        view = await app.runs.wait(run_id, actor="a", seconds=20)
        assert (view.status, view.compensation) == ("cancelled", "done")
        assert len(service.made("/refund")) == 1
        assert (await app.runs.get(child, actor="a")).status == "compensated"


async def test_a_parent_waits_until_its_child_that_was_resumed_has_ended(tmp_path: Path) -> None:
    async with stopped(tmp_path) as (app, service, run_id, child):
        service.rule("/ship", Rule(hold=True))
        await app.runs.resume(child, actor="a", via="test", person=True, correction={})
        await service.seen(lambda: len(service.made("/ship")) == 2)
        with pytest.raises(RunRefused, match=f"{child}, which failed at paid, has been resumed itself"):
            await app.runs.resume(run_id, actor="a", via="test", person=True, correction={})
        await service.lift("/ship")


async def test_a_child_that_its_parent_has_gone_on_without_is_not_resumed(tmp_path: Path) -> None:
    async with stopped(tmp_path) as (app, service, run_id, child):
        await service.lift("/ship")
        assert await resumed(app, run_id) == "completed"
        with pytest.raises(RunRefused, match=f"{run_id}, which started it, has gone on without it"):
            await app.runs.resume(child, actor="a", via="test", person=True, correction={})
