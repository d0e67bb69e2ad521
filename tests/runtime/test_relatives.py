"""A person may resume a child that failed, or its parent: what the one has done, the other does not do again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

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
GRANDPARENT = """
name: shop
description: Has an order made by another workflow, which has it paid by a third one.
on_failure: pause
steps:
  - id: ordered
    workflow: {name: order}
"""
ROUNDS = 6


@asynccontextmanager
async def serving(folder: Path, *, shop: bool) -> AsyncGenerator[tuple[App, CountingService]]:
    """``shop``: the order fails with its payment, and the shop that it was made for is paused."""
    async with counting_service() as service:
        (folder / "pay.yaml").write_text(CHILD)
        (folder / "order.yaml").write_text(PARENT.replace("pause", "fail") if shop else PARENT)
        if shop:
            (folder / "shop.yaml").write_text(GRANDPARENT)
        service.rule("/ship", Rule(status=422))
        async with node(folder, service) as app:
            yield app, service


@asynccontextmanager
async def node(folder: Path, service: CountingService) -> AsyncGenerator[App]:
    settings = Settings.load(definitions=(folder,), vars={"SERVICE": service.url})
    async with built_app(settings, role=Role.SERVER) as app, app.moving():
        yield app


async def paused(app: App, workflow: str, key: str) -> str:
    run_id = (await app.runs.start(workflow, {}, actor="a", idempotency_key=key)).run_id
    assert (await app.runs.wait(run_id, actor="a", seconds=20)).status == "paused"
    return run_id


@asynccontextmanager
async def stopped(folder: Path, *, shop: bool = False) -> AsyncGenerator[tuple[App, CountingService, str, str]]:
    """The app, its service, and a run that is paused because its child could not ship, or the child of that; and the child."""
    async with serving(folder, shop=shop) as (app, service):
        run_id = await paused(app, "shop" if shop else "order", "1")
        yield app, service, run_id, child_id(run_id, "ordered" if shop else "paid", 1)


@asynccontextmanager
async def stopped_often(
    folder: Path, *, shop: bool = False
) -> AsyncGenerator[tuple[App, App, CountingService, list[tuple[str, str]]]]:
    """Two nodes, their service, which ships again, and several runs with what failed of each, the payment."""
    async with serving(folder, shop=shop) as (one, service), node(folder, service) as two:
        keys = map(str, range(ROUNDS))
        run_ids = await asyncio.gather(*(paused(one, "shop" if shop else "order", key) for key in keys))
        await service.lift("/ship")
        orders = [child_id(run_id, "ordered", 1) if shop else run_id for run_id in run_ids]
        yield (
            one,
            two,
            service,
            [(run_id, child_id(order, "paid", 1)) for run_id, order in zip(run_ids, orders, strict=True)],
        )


async def at_once(number: int, *calls: Coroutine[Any, Any, object]) -> list[object]:
    """What those answer that were not refused. Every other time they are begun in the other order."""
    answers = await asyncio.gather(*(calls if number % 2 else reversed(calls)), return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, RunRefused):
            raise answer
    return [answer for answer in answers if not isinstance(answer, RunRefused)]


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


async def test_what_was_resumed_two_levels_below_is_not_begun_anew_from_above(tmp_path: Path) -> None:
    async with stopped(tmp_path, shop=True) as (app, service, run_id, order):
        pay = child_id(order, "paid", 1)
        await service.lift("/ship")
        assert await resumed(app, pay) == "completed"
        with pytest.raises(RunRefused, match=f"{pay}, which failed at paid, has been resumed .*Resume {order} first"):
            await app.runs.resume(run_id, actor="a", via="test", person=True, correction={})
        assert await resumed(app, order) == "completed"
        assert await resumed(app, run_id) == "completed"
        assert [call.key for call in service.made("/charge")] == [f"{pay}:charge"], "charged once"


async def test_what_failed_two_levels_below_is_not_resumed_once_it_was_begun_anew_from_above(tmp_path: Path) -> None:
    async with stopped(tmp_path, shop=True) as (app, service, run_id, order):
        await service.lift("/ship")
        assert await resumed(app, run_id) == "completed"
        with pytest.raises(RunRefused, match=f"{run_id}, which started {order}, has gone on without it"):
            await app.runs.resume(child_id(order, "paid", 1), actor="a", via="test", person=True, correction={})


@pytest.mark.parametrize("shop", [False, True])
async def test_of_two_relatives_resumed_on_two_nodes_at_the_same_instant_one_goes_on(
    tmp_path: Path, shop: bool
) -> None:
    async with stopped_often(tmp_path, shop=shop) as (one, two, service, stopped):
        begun = len(service.calls)
        for number, (run_id, pay) in enumerate(stopped):
            assert await at_once(number, resumed(one, pay), resumed(two, run_id)), "one of them went on"
            while (await two.runs.get(run_id, actor="a")).status == "paused":
                below = (await two.runs.get(child_id(run_id, "ordered", 1), actor="a")).status if shop else "completed"
                assert (
                    await resumed(two, run_id if below == "completed" else child_id(run_id, "ordered", 1))
                    == "completed"
                )
        shipped = [call.key for call in service.made("/ship") if call.number >= begun]
        assert len(shipped) == len(set(shipped)) == len(stopped), "shipped once each"


async def test_a_child_is_not_resumed_at_the_instant_in_which_its_parent_is_cancelled(tmp_path: Path) -> None:
    async with stopped_often(tmp_path) as (one, two, _, stopped):
        for number, (run_id, pay) in enumerate(stopped):
            await at_once(number, resumed(one, pay), two.runs.cancel(run_id, actor="a", via="test"))
            parent, child = [(await two.runs.get(one, actor="a")).status for one in (run_id, pay)]
            assert (parent, child) in {("cancelled", "failed"), ("paused", "completed")}
