"""The definitions that ask people, wait, go round, call back or reach other servers, run end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from mcp_workflows.engine.states import RunStatus
from mcp_workflows.runtime.views import RunView
from mcp_workflows.samples.faults import Fault
from tests.definitions_run.place import Office, office

pytestmark = pytest.mark.anyio

SCAN = {"scan_id": "s-117", "title": "March"}
APPROVED = {"decision": "approved"}
REJECTED = {"decision": "rejected"}


def failed_with(run: RunView) -> str:
    assert run.status is RunStatus.FAILED, run.status
    assert run.error is not None
    return run.error.code


def asked(run: RunView) -> list[str]:
    assert run.status is RunStatus.WAITING, f"{run.status}: {run.error and run.error.message}"
    return sorted(wait.name for wait in run.waiting_for)


# A saga with an approval


async def test_a_large_order_is_charged_once_a_person_agrees(tmp_path: Path):
    async with office(tmp_path) as here:
        run = await here.run("saga_order_fulfillment", {"order_id": "o1", "amount": 5000})
        assert asked(run) == ["approval"]
        assert await here.made() == ["shop POST /inventory/reserve"]
        ended = await here.answer(run, "approval", APPROVED)
        assert ended.status is RunStatus.COMPLETED
        assert ended.result["approved_by"] == "local"


async def test_a_large_order_that_is_rejected_gives_the_goods_back(tmp_path: Path):
    async with office(tmp_path) as here:
        run = await here.run("saga_order_fulfillment", {"order_id": "o1", "amount": 5000})
        ended = await here.answer(run, "approval", REJECTED)
        assert failed_with(ended) == "rejected"
        assert ended.undone == ("reserve",)
        assert await here.made() == ["shop POST /inventory/reserve", "shop POST /inventory/release"]


# Documents: files, polling, calls back


async def test_a_scan_is_converted_and_archived_byte_for_byte(tmp_path: Path):
    async with office(tmp_path) as here:
        run = await here.run("archive_scan", {**SCAN, "recipient": "boss@example.com"})
        assert run.status is RunStatus.COMPLETED, run.error
        books = await here.samples.books()
        assert run.result["archived_as"] == "March-s-117.pdf"
        assert run.result["sha256"] == books["documents"]["archive"]["March-s-117.pdf"]["sha256"]
        assert books["documents"]["documents"]["d_1"]["filename"] == "s-117.pdf"
        polls = await here.calls("documents GET /conversions/k_1")
        assert [call.status for call in polls] == [200, 200]
        assert len(await here.calls("documents POST /conversions")) == 1
        assert books["mail"]["messages"]["m_1"]["template"] == "archived"


async def test_a_scan_that_cannot_be_converted_leaves_nothing_behind(tmp_path: Path):
    async with office(tmp_path) as here:
        run = await here.run("archive_scan", {**SCAN, "title": "March, encrypted"})
        assert failed_with(run) == "poll_failed"
        assert run.undone == ("document",)
        assert (await here.samples.books())["documents"]["documents"]["d_1"]["deleted"]


async def test_an_invoice_is_booked_when_the_service_calls_back(tmp_path: Path):
    async with office(tmp_path, reachable=True) as here:
        run = await here.run("book_invoice", {"scan_id": "s-1"})
        assert run.status is RunStatus.COMPLETED, run.error
        assert run.result["invoice"] == {"supplier": "Paper & Ink Ltd", "number": "INV-e_1", "total": 11_900}
        assert "checked_by" not in run.result
        assert (await here.samples.books())["billing"]["payables"]["b_1"]["number"] == "INV-e_1"


async def test_an_invoice_that_is_hard_to_read_is_corrected_by_a_person(tmp_path: Path):
    async with office(tmp_path, reachable=True) as here:
        run = await here.run("book_invoice", {"scan_id": "s-1", "title": "faded"})
        assert asked(run) == ["checked"]
        ended = await here.answer(run, "checked", {**APPROVED, "form": {"total": 19_100}})
        assert ended.result["invoice"]["total"] == 19_100
        assert ended.result["checked_by"] == "local"


async def test_a_service_that_calls_back_late_is_waited_for(tmp_path: Path):
    async with office(tmp_path, reachable=True) as here:
        await here.misbehave(Fault("documents", "CALLBACK", "*", "hold"))
        begun = await here.app.runs.start("book_invoice", {"scan_id": "s-1"}, actor="local")
        await here.samples.wait_for(lambda calls: any(call.method == "CALLBACK" for call in calls))
        await here.samples.behave()
        run = await here.app.runs.wait(begun.run_id, actor=None, seconds=30.0)
        assert run.status is RunStatus.COMPLETED, run.error


async def test_an_extraction_whose_answer_was_lost_is_asked_for_once(tmp_path: Path):
    """The service is asked again under the same key, and calls the address that it was given first."""
    async with office(tmp_path, reachable=True) as here:
        await here.misbehave(Fault("documents", "POST", "/extractions", "drop", done=True))
        run = await here.run("book_invoice", {"scan_id": "s-1"})
        assert run.status is RunStatus.COMPLETED, run.error
        assert len((await here.samples.books())["documents"]["extractions"]) == 1


async def test_an_unreadable_invoice_is_not_booked(tmp_path: Path):
    async with office(tmp_path, reachable=True) as here:
        run = await here.run("book_invoice", {"scan_id": "s-1", "title": "unreadable"})
        assert failed_with(run) == "unreadable"
        assert run.undone == ("extraction", "document")


# Many of a kind


async def test_every_page_of_the_price_list_is_taken_over_but_for_drafts(tmp_path: Path):
    async with office(tmp_path) as here:
        run = await here.run("sync_catalogue", {"report_to": "boss@example.com", "markup": 10})
        assert run.status is RunStatus.COMPLETED, run.error
        assert run.result["listed"] == 23
        assert [one["product"] for one in run.result["refused"]] == ["SKU-008", "SKU-016"]
        assert "is a draft" in run.result["refused"][0]["reason"]
        books = await here.samples.books()
        assert len(books["catalogue"]["products"]) == 23
        assert books["catalogue"]["products"]["SKU-001"]["price"] == 715
        assert books["mail"]["messages"]["m_1"]["template"] == "refused_products"


async def test_a_price_list_goes_on_from_the_page_that_failed(tmp_path: Path):
    async with office(tmp_path) as here:
        await here.misbehave(Fault("supplier", "GET", "/products", "slow", seconds=0.0))
        await here.misbehave(Fault("supplier", "GET", "/products", "answer", status=403))
        run = await here.run("sync_catalogue", {})
        assert run.status is RunStatus.PAUSED
        await here.app.runs.resume(run.run_id, actor=None, via="test", person=True, correction={})
        ended = await here.app.runs.wait(run.run_id, actor=None, seconds=30.0)
        assert ended.result["listed"] == 23
        assert len(await here.calls("supplier GET /products")) == 4
        assert len(await here.calls("catalogue PUT /products/SKU-001")) == 1


async def charged_accounts(here: Office, count: int) -> None:
    async with httpx2.AsyncClient(trust_env=False) as client:
        for number in range(1, count + 1):
            account = {"email": f"a{number}@example.com", "plan": "pro"}
            await client.post(here.samples.urls["crm"] + "/accounts", json=account)
            if number != 2:
                charge = {"account": f"a_{number}", "plan": "pro"}
                await client.post(here.samples.urls["billing"] + "/charges", json=charge)


async def test_every_account_gets_its_statement_from_a_run_of_its_own(tmp_path: Path):
    async with office(tmp_path, PAGE_SIZE="3") as here:
        await charged_accounts(here, 7)
        await here.misbehave(Fault("mail", "POST", "/messages", "answer", status=422, contains="a5@example.com"))
        run = await here.run("nightly_statements", {"month": "2026-11"})
        assert run.status is RunStatus.COMPLETED, run.error
        assert (run.result["sent"], run.result["nothing_to_tell"]) == (5, 1)
        assert [one["account"] for one in run.result["failed"]] == ["a_5"]
        again = await here.run("nightly_statements", {"month": "2026-11", "report_to": "boss@example.com"})
        assert (again.result["sent"], again.result["failed"]) == (6, [])
        sent = (await here.samples.books())["mail"]["messages"].values()
        statements = [one["to"] for one in sent if one["template"] == "statement"]
        assert sorted(statements) == [f"a{number}@example.com" for number in (1, 3, 4, 5, 6, 7)]


async def test_one_statement_can_be_sent_by_itself(tmp_path: Path):
    async with office(tmp_path) as here:
        await charged_accounts(here, 1)
        arguments = {"account_id": "a_1", "email": "a1@example.com", "month": "2026-11"}
        run = await here.run("send_statement", arguments)
        assert run.result == {"sent": True, "message_id": "m_1"}


RECALL = {"orders": ["o1", "o2", "o3"], "reason": "it may catch fire"}


async def test_a_recall_is_refunded_once_a_person_agrees(tmp_path: Path):
    async with office(tmp_path) as here:
        run = await here.run("refund_recall", RECALL)
        assert asked(run) == ["approved"]
        assert "36000 cents" in (run.waiting_for[0].message or "")
        assert await here.made() == []
        ended = await here.answer(run, "approved", APPROVED)
        assert ended.status is RunStatus.COMPLETED, ended.error
        assert [one["order"] for one in ended.result["refunds"]] == RECALL["orders"]
        books = await here.samples.books()
        assert len(books["billing"]["payouts"]) == 3
        assert len(books["shop"]["returns"]) == 3
        assert len(books["mail"]["messages"]) == 3


async def test_a_recall_that_is_rejected_pays_nothing(tmp_path: Path):
    async with office(tmp_path) as here:
        run = await here.run("refund_recall", RECALL)
        ended = await here.answer(run, "approved", REJECTED)
        assert failed_with(ended) == "rejected"
        assert await here.made() == []


async def test_one_order_that_cannot_be_refunded_takes_the_others_back(tmp_path: Path):
    async with office(tmp_path) as here:
        refused = Fault("billing", "POST", "/orders/o3/refunds", "answer", status=422)
        await here.misbehave(refused, Fault("shop", "DELETE", "/inventory/returns/*", "answer", status=503))
        run = await here.run("refund_recall", RECALL)
        ended = await here.answer(run, "approved", APPROVED)
        assert failed_with(ended) == "http_422"
        assert ended.compensation == "done", ended.not_undone
        books = await here.samples.books()
        assert sorted(one["payout"] for one in books["billing"]["reversals"].values()) == sorted(
            books["billing"]["payouts"]
        )
        assert all(one["deleted"] for one in books["billing"].get("order_refunds", {}).values())
        assert all(one["deleted"] for one in books["shop"]["returns"].values())
        assert "mail" not in books or not books["mail"]


async def test_a_payout_of_a_recall_whose_answer_was_lost_is_made_once(tmp_path: Path):
    async with office(tmp_path) as here:
        await here.misbehave(Fault("billing", "POST", "/payouts", "drop", done=True, contains="o2"))
        run = await here.run("refund_recall", RECALL)
        ended = await here.answer(run, "approved", APPROVED)
        assert ended.status is RunStatus.COMPLETED, ended.error
        assert len((await here.samples.books())["billing"]["payouts"]) == 3


async def test_a_months_orders_are_regrouped_and_worked_out(tmp_path: Path):
    async with office(tmp_path) as here:
        run = await here.run("monthly_report", {"month": "2026-11", "recipient": "boss@example.com", "best": 2})
        assert run.status is RunStatus.COMPLETED, run.error
        figures, countries = run.result["figures"], run.result["countries"]
        assert figures["orders"] == sum(one["orders"] for one in countries) == 6
        assert figures["total"] == sum(one["total"] for one in countries)
        assert {one["country"] for one in countries} == {"DE", "FR", "IT"}
        assert len(run.result["best"]) == 2
        assert (await here.samples.books())["mail"]["messages"]["m_1"]["values"] == run.result


# People, agents and other servers


async def looked_into(here: Office, incident: str, decision: dict[str, Any]) -> RunView:
    """After an agent has looked into it: by MCP, as no person."""
    run = await here.run("respond_to_incident", {"incident_id": incident})
    assert asked(run) == ["looked_into"]
    return await here.answer(run, "looked_into", decision, person=False)


async def test_a_critical_incident_is_moved_by_a_person_and_closed(tmp_path: Path):
    async with office(tmp_path) as here:
        run = await looked_into(here, "INC-1", {**APPROVED, "form": {"finding": "All pods restart."}})
        assert asked(run) == ["agreed"]
        assert "All pods restart." in (run.waiting_for[0].message or "")
        run = await here.answer(run, "agreed", APPROVED)
        assert asked(run) == ["over"]
        ended = await here.answer(run, "over", {"cause": "bad deploy"}, person=False)
        assert ended.result == {
            "state": "resolved",
            "called": "oncall@payments.example",
            "moved": True,
            "cause": "bad deploy",
        }
        books = await here.samples.books()
        assert books["platform"]["failovers"]["o_1"]["service"] == "checkout"
        assert books["incidents"]["incidents"]["INC-1"]["state"] == "resolved"


async def test_a_false_alarm_is_called_off_everywhere(tmp_path: Path):
    async with office(tmp_path) as here:
        ended = await looked_into(here, "INC-1", REJECTED)
        assert failed_with(ended) == "rejected"
        assert (ended.compensation, sorted(ended.undone)) == ("done", ["alarm.public.notice", "alarm.team.call"])
        books = (await here.samples.books())["incidents"]
        assert books["pages"]["pg_1"]["state"] == "cancelled"
        assert books["updates"]["su_1"]["state"] == "retracted"


async def test_a_call_whose_answer_was_lost_wakes_nobody_twice(tmp_path: Path):
    async with office(tmp_path) as here:
        await here.misbehave(Fault("incidents", "CALL", "page_oncall", "drop", done=True))
        run = await here.run("respond_to_incident", {"incident_id": "INC-2"})
        assert asked(run) == ["looked_into"]
        assert len((await here.samples.books())["incidents"]["pages"]) == 1
        assert [call.replayed for call in await here.calls("incidents CALL page_oncall")] == [False, True]


async def test_where_nobody_has_the_duty_the_manager_is_told(tmp_path: Path):
    async with office(tmp_path) as here:
        run = await here.run("respond_to_incident", {"incident_id": "INC-4"})
        assert asked(run) == ["looked_into"]
        sent = (await here.samples.books())["mail"]["messages"]["m_1"]
        assert (sent["to"], sent["template"]) == ("duty.manager@example.com", "nobody_on_call")


# Days


async def test_a_trial_waits_for_its_confirmation_and_then_for_days(tmp_path: Path):
    async with office(tmp_path) as here:
        run = await here.run("onboard_trial", {"email": "new@example.com", "first_name": "Nora"})
        assert asked(run) == ["email_confirmed"]
        begun = (await here.samples.books())["mail"]["messages"]["m_1"]
        assert begun["values"] == {"run": run.run_id, "name": "Nora"}
        await here.app.runs.signal(run.run_id, "email_confirmed", {}, actor="local", via="cli", person=True)
        await here.samples.wait_for(lambda calls: any(call.method == "PATCH" and call.status == 200 for call in calls))
        cancelled = await here.app.runs.cancel(run.run_id, actor=None, via="test")
        ended = await here.app.runs.wait(cancelled.run_id, actor=None, seconds=30.0)
        assert (ended.status, ended.undone) == (RunStatus.CANCELLED, ("active", "invitation", "account"))
