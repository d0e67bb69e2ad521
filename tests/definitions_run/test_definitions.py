"""Every definition in ``definitions/`` and ``examples/``, run end to end: how it goes well, and how it goes wrong."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from mcp_workflows.clock import utc_now
from mcp_workflows.definition.loader import load_paths
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.samples.faults import Fault
from tests.definitions_run.place import FOLDERS, office

pytestmark = pytest.mark.anyio

BUYER = {"email": "buyer@example.com", "plan": "pro"}


async def test_a_customer_is_onboarded(tmp_path: Path):
    async with office(tmp_path) as here:
        run = await here.run("onboard_customer", {**BUYER, "note": "VIP"})
        assert run.status is RunStatus.COMPLETED
        assert run.result == {"account_id": "a_1", "charge_id": "c_1", "message_id": "m_1"}
        books = await here.samples.books()
        assert books["crm"]["accounts"]["a_1"]["note"] == "VIP"
        assert books["billing"]["charges"]["c_1"]["amount"] == 4900


async def test_a_customer_on_the_free_plan_is_not_charged(tmp_path: Path):
    async with office(tmp_path) as here:
        run = await here.run("onboard_customer", {**BUYER, "plan": "free"})
        assert run.result == {"account_id": "a_1", "message_id": "m_1"}
        assert await here.calls("billing POST /charges") == []


async def test_a_charge_whose_effect_is_unknown_is_undone_by_its_key(tmp_path: Path):
    async with office(tmp_path) as here:
        await here.misbehave(Fault("billing", "POST", "/charges", "drop", times=1, done=True))
        await here.misbehave(Fault("billing", "POST", "/charges", "answer", status=422, times=None))
        run = await here.run("onboard_customer", BUYER)
        assert run.status is RunStatus.FAILED
        assert run.error is not None
        assert run.error.in_doubt
        assert (run.compensation, run.undone) == ("done", ("charge", "account"))
        assert await here.made() == [
            "crm POST /accounts",
            "billing POST /charges",
            "billing POST /refunds",
            "crm DELETE /accounts/a_1",
        ]


async def test_an_order_is_refunded(tmp_path: Path):
    async with office(tmp_path) as here:
        run = await here.run("refund_order", {"order_id": "o1", "amount": 500, "reason": "broken"})
        assert run.status is RunStatus.COMPLETED
        assert run.result == {"payout_id": "p_1", "refund_id": "r_1", "amount": 500, "customer_told": True}
        rest = await here.run("refund_order", {"order_id": "o1", "reason": "the rest"})
        assert rest.result["amount"] == 11_500


async def test_more_than_is_left_is_not_refunded(tmp_path: Path):
    async with office(tmp_path) as here:
        run = await here.run("refund_order", {"order_id": "o1", "amount": 99_999, "reason": "greed"})
        assert run.status is RunStatus.FAILED
        assert run.error is not None
        assert run.error.code == "not_refundable"
        assert await here.made() == []


async def test_a_payout_that_was_cut_off_waits_for_a_person_and_is_not_paid_twice(tmp_path: Path):
    async with office(tmp_path) as here:
        await here.misbehave(Fault("billing", "POST", "/payouts", "drop", done=True))
        run = await here.run("refund_order", {"order_id": "o1", "amount": 500, "reason": "broken"})
        assert run.status is RunStatus.PAUSED
        assert run.error is not None
        assert run.error.in_doubt
        took_place = {"output": {"id": "p_1"}}
        await here.app.runs.resume(
            run.run_id, actor=None, via="test", person=True, correction=took_place, reason="it is on the bank's list"
        )
        ended = await here.app.runs.wait(run.run_id, actor=None, seconds=30.0)
        assert ended.result["payout_id"] == "p_1"
        assert len(await here.calls("billing POST /payouts")) == 1


async def test_a_customer_who_cannot_be_told_does_not_undo_a_refund(tmp_path: Path):
    async with office(tmp_path) as here:
        await here.misbehave(Fault("mail", "POST", "/messages", "answer", status=422, times=None))
        run = await here.run("refund_order", {"order_id": "o1", "amount": 500, "reason": "broken"})
        assert run.status is RunStatus.COMPLETED
        assert run.result["customer_told"] is False


WORKSPACE = {"name": "acme", "owner": "owner@example.com"}


async def test_a_workspace_is_provisioned_once(tmp_path: Path):
    async with office(tmp_path) as here:
        first = await here.run("provision_workspace", WORKSPACE)
        assert first.result["created"]
        again = await here.run("provision_workspace", {**WORKSPACE, "size": "large"})
        assert again.result == {
            "workspace_id": first.result["workspace_id"],
            "url": first.result["url"],
            "created": False,
        }


async def test_a_workspace_that_does_not_come_up_is_taken_down_in_reverse(tmp_path: Path):
    async with office(tmp_path) as here:
        await here.misbehave(Fault("platform", "GET", "/workspaces/w_1", "answer", status=200, body={"state": "stuck"}))
        run = await here.run("provision_workspace", WORKSPACE)
        assert run.error is not None
        assert run.error.code == "not_ready"
        assert run.undone == ("admin", "database", "workspace")
        assert (await here.made())[-3:] == [
            "platform DELETE /workspaces/w_1/members/u_1",
            "platform DELETE /databases/d_1",
            "platform DELETE /workspaces/w_1",
        ]


async def test_an_order_is_fulfilled(tmp_path: Path):
    async with office(tmp_path) as here:
        run = await here.run("saga_order_fulfillment", {"order_id": "o1", "amount": 12.5})
        assert run.result == {"order_id": "o1", "reservation_id": "r_1", "charge_id": "c_1", "shipment_id": "s_1"}


async def test_an_order_that_cannot_be_shipped_is_refunded_and_released(tmp_path: Path):
    async with office(tmp_path) as here:
        order = {"order_id": "o1", "amount": 12.5, "shipment_status": "2OO"}
        run = await here.run("saga_order_fulfillment", order)
        assert (run.status, run.compensation, run.undone) == (RunStatus.FAILED, "done", ("charge", "reserve"))
        assert (await here.made())[-2:] == ["shop POST /payments/refund", "shop POST /inventory/release"]


async def test_accounts_are_exported_at_the_quiet_hour(tmp_path: Path):
    async with office(tmp_path) as here:
        await here.run("onboard_customer", {**BUYER, "plan": "free"})
        at = (utc_now() + timedelta(milliseconds=300)).isoformat()
        run = await here.run("nightly_export", {"recipient": "boss@example.com", "start_at": at})
        assert run.status is RunStatus.COMPLETED
        assert run.result["rows"] == 1
        sent = (await here.samples.books())["mail"]["messages"]["m_2"]
        assert sent["values"] == {"url": "http://files.example/export.csv", "rows": 1}
        assert run.finished_at is not None
        assert run.finished_at.isoformat() >= at


async def test_nothing_is_exported_from_an_empty_crm(tmp_path: Path):
    async with office(tmp_path) as here:
        assert (await here.run("nightly_export", {"recipient": "boss@example.com"})).result == {"rows": 0}


def test_every_definition_of_the_repository_is_valid_without_a_warning_and_run_here():
    loaded = load_paths(FOLDERS)
    assert (loaded.problems, loaded.warnings) == ((), ())
    source = "".join(file.read_text() for file in Path(__file__).parent.glob("test_*.py"))
    assert [name for name in loaded.definitions if f'"{name}"' not in source] == []
