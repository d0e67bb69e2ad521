"""Runs that wait for somebody: how an agent is told, what it may answer itself, and what it must leave to a person."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from tests.mcp_server.onboarding import CUSTOMER, ONBOARD, TICKETS, call, type_in
from tests.mcp_server.place import TRANSPORTS, place, refused

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_runs_that_wait_for_somebody_are_listed_until_they_are_answered(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"onboard": ONBOARD}) as here, here.client(transport) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert (tools["onboard_customer"].description or "").endswith(
            "Durable: follow it with get_run. May ask a person for approval."
        )
        waiting = await call(client, "onboard_customer", **CUSTOMER)
        run_id = waiting["run_id"]
        listed = await call(client, "list_runs", status="needs_input")
        assert [(run["run_id"], run["waiting_for"]) for run in listed["runs"]] == [(run_id, ["approve"])]
        await type_in(waiting["waiting_for"][0]["command"], "--approve", "--as", "cli:anna")
        assert (await call(client, "get_run", run_id=run_id, wait_seconds=50))["status"] == "completed"
        assert await call(client, "list_runs", status="needs_input") == {"runs": []}


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_an_agent_answers_what_anyone_may(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"tickets": TICKETS}) as here, here.client(transport) as client:
        waiting = await call(client, "work_tickets")
        run_id = waiting["run_id"]
        first, second = waiting["waiting_for"]
        assert (first["name"], first["message"], first["by"]) == ("tickets[0].decide", "Work on a?", "anyone")
        assert second["name"] == "tickets[1].decide"
        assert "command" not in first
        assert waiting["next"] == (
            "Answer with signal_run with name and data (see schema); or call get_run with wait_seconds 50 "
            "until somebody else does."
        )

        async def no(**arguments: Any) -> str:
            return refused(await client.call_tool("signal_run", {"run_id": run_id, **arguments}))

        yes = {"decision": "approved", "form": {"hours": 3}}
        assert await no(name="aprove", data=yes) == (
            f'{run_id} does not wait for "aprove". It waits for: tickets[0].decide, tickets[1].decide. '
            "It takes in advance: payment."
        )
        assert await no(name="decide", data=yes) == (
            f'"decide" stands in a loop of {run_id}. Say which one by its path: tickets[0].decide, tickets[1].decide.'
        )
        name = "tickets[1].decide"
        assert await no(name=name, data={"decision": "yes", "form": {"hours": 3}}) == (
            'data refused: decision: "yes" is not one of approved, rejected. The run still waits.'
        )
        assert await no(name=name, data={"decision": "approved"}) == (
            "data refused: form.hours: is missing. The run still waits."
        )
        assert await no(name=name) == (
            "data refused: decision: is missing. form.hours: is missing. The run still waits."
        )
        assert await no(name=name, data={**yes, "by": "person"}) == (
            "data refused: by: is not known. The run still waits."
        )

        one_left = await call(client, "signal_run", run_id=run_id, name=name, data=yes)
        assert [wait["name"] for wait in one_left["waiting_for"]] == ["tickets[0].decide"]
        assert re.fullmatch(r"decide was answered by local at .* \(approved\)\.", await no(name=name, data=yes))

        early = await call(client, "signal_run", run_id=run_id, name="payment", data={"amount": 240})
        assert early["status"] == "waiting", "it is kept until the run waits for it"
        last = {"decision": "rejected", "note": "too far"}
        done = await call(client, "signal_run", run_id=run_id, name="tickets[0].decide", data=last)
        assert done["status"] == "completed"
        assert done["result"]["amount"] == 240
        rejected, approved = done["result"]["decisions"]
        assert (rejected["decision"], rejected["note"], rejected["by"]) == ("rejected", "too far", "local")
        assert approved["form"] == {"hours": 3, "rate": 80}
        assert await no(name="payment", data={"amount": 1}) == (
            f'{run_id} is completed: it takes no "payment" any more.'
        )


async def test_a_signal_that_does_not_fit_is_refused_and_still_waited_for(tmp_path: Path) -> None:
    text = TICKETS.replace('["a", "b"]', "[]")
    async with place(tmp_path, {"tickets": text}) as here, here.client("in process, 2026") as client:
        waiting = await call(client, "work_tickets")
        (wait,) = waiting["waiting_for"]
        assert (wait["kind"], wait["name"], wait["by"]) == ("signal", "payment", "anyone")
        assert wait["schema"]["required"] == ["amount"]
        answer = await client.call_tool(
            "signal_run", {"run_id": waiting["run_id"], "name": "payment", "data": {"amount": "2"}}
        )
        assert refused(answer) == 'data refused: amount: "2" is a string, expected number. The run still waits.'
        done = await call(client, "signal_run", run_id=waiting["run_id"], name="payment", data={"amount": 2})
        assert done["result"] == {"decisions": [], "amount": 2}


async def test_who_may_approve_is_asked_for_by_name(tmp_path: Path) -> None:
    text = ONBOARD.replace("timeout: 3d", 'timeout: 3d\n      by: anyone\n      approvers: ["cli:anna", "web:7"]')
    async with place(tmp_path, {"onboard": text}) as here, here.client("in process, 2026") as client:
        waiting = await call(client, "onboard_customer", **CUSTOMER)
        (wait,) = waiting["waiting_for"]
        assert wait["approvers"] == ["cli:anna", "web:7"]
        answer = {"run_id": waiting["run_id"], "name": "approve", "data": {"decision": "approved"}}
        assert refused(await client.call_tool("signal_run", answer)) == (
            f'Refused: approval "approve" of {waiting["run_id"]} is answered by cli:anna or web:7, not by local. '
            "The run still waits."
        )


async def test_two_answers_at_once_are_one_answer(tmp_path: Path) -> None:
    text = ONBOARD.replace("timeout: 3d", "by: anyone")
    async with place(tmp_path, {"onboard": text}) as here, here.client("in process, 2026") as client:
        run_id = (await call(client, "onboard_customer", **CUSTOMER))["run_id"]
        decisions = ["approved", "rejected"] * 5
        answers = await asyncio.gather(
            *(
                here.app.runs.signal(run_id, "approve", {"decision": one}, actor="local", via="test", person=False)
                for one in decisions
            ),
            return_exceptions=True,
        )
        assert sum(not isinstance(one, BaseException) for one in answers) == 1
        messages = (await here.app.runs.trace(run_id, actor=None)).messages
        assert len(messages) == 1
        said = {str(one) for one in answers if isinstance(one, BaseException)}
        decided = messages[0].body["decision"]
        assert all(one.startswith("approve was answered by local") and f"({decided})" in one for one in said)


async def test_a_waiting_call_ends_when_the_run_newly_needs_something_and_not_for_what_is_known(tmp_path: Path) -> None:
    text = TICKETS.replace("concurrency: 2", "concurrency: 1")
    async with place(tmp_path, {"tickets": text}) as here, here.client("in process, 2026") as client:
        run_id = (await call(client, "work_tickets"))["run_id"]
        known = await call(client, "get_run", run_id=run_id, wait_seconds=1)
        assert [wait["name"] for wait in known["waiting_for"]] == ["tickets[0].decide"]
        asking = asyncio.create_task(call(client, "get_run", run_id=run_id, wait_seconds=50))
        yes = {"decision": "approved", "form": {"hours": 1}}
        await here.app.runs.signal(run_id, "tickets[0].decide", yes, actor="local", via="test", person=True)
        async with asyncio.timeout(20):
            assert [wait["name"] for wait in (await asking)["waiting_for"]] == ["tickets[1].decide"]


async def test_an_approval_that_expired_can_be_answered_no_more(tmp_path: Path) -> None:
    text = ONBOARD.replace("timeout: 3d", "timeout: 20ms").replace("mcp:", "on_failure: pause\nmcp:")
    async with place(tmp_path, {"onboard": text}) as here, here.client("in process, 2026") as client:
        run_id = (await call(client, "onboard_customer", **CUSTOMER))["run_id"]
        paused = await call(client, "get_run", run_id=run_id, wait_seconds=20)
        assert (paused["status"], paused["error"]["code"]) == ("paused", "timeout")
        answer = {"run_id": paused["run_id"], "name": "approve", "data": {"decision": "approved"}}
        assert re.fullmatch(
            rf"approve of {paused['run_id']} has expired at \d\d:\d\d UTC; it can be answered no more\.",
            refused(await client.call_tool("signal_run", answer)),
        )
        assert paused["next"].startswith("resume_run")


async def test_many_waits_are_told_in_few_words(tmp_path: Path) -> None:
    text = (
        TICKETS.replace('["a", "b"]', "lists.range(40)")
        .replace("concurrency: 2", "concurrency: 40")
        .replace("on ${ticket}", "on ${string(ticket)}")
    )
    async with place(tmp_path, {"tickets": text}) as here, here.client("in process, 2026") as client:
        waiting = await call(client, "work_tickets")
        waiting = await call(client, "get_run", run_id=waiting["run_id"])
        assert len(waiting["waiting_for"]) == 5
        assert waiting["waiting_for_omitted"] == 35


async def test_a_run_of_somebody_else_cannot_be_answered(tmp_path: Path) -> None:
    async with place(tmp_path, {"onboard": ONBOARD}) as here, here.client("in process, 2026") as client:
        view = await here.app.runs.start("onboard_customer", CUSTOMER, actor="somebody")
        answer = {"run_id": view.run_id, "name": "approve", "data": {"decision": "approved"}}
        assert refused(await client.call_tool("signal_run", answer)).startswith(
            f"No run {view.run_id} that you may see."
        )


async def test_the_trace_tells_nested_steps_below_one_another_and_who_answered_what(tmp_path: Path) -> None:
    async with place(tmp_path, {"tickets": TICKETS}) as here, here.client("in process, 2026") as client:
        run_id = (await call(client, "work_tickets"))["run_id"]
        for index in (0, 1):
            answer = {"decision": "approved", "form": {"hours": 1}, "note": "yes"}
            await call(client, "signal_run", run_id=run_id, name=f"tickets[{index}].decide", data=answer)
        await call(client, "signal_run", run_id=run_id, name="payment", data={"amount": 5})
        trace = (await call(client, "get_run", run_id=run_id, select="trace"))["selected"]
        tickets, paid = trace["steps"]
        assert (tickets["path"], paid["path"]) == ("tickets", "paid")
        assert [one["path"] for one in tickets["steps"]] == ["tickets[0].decide", "tickets[1].decide"]
        assert tickets["steps"][0]["decided"] == {"message": "Work on a?"}
        assert tickets["steps"][0]["output"]["note"] == "yes"
        told = [
            (one["kind"], one["actor"], one["body"].get("path") or one["body"]["name"]) for one in trace["messages"]
        ]
        assert told == [
            ("answer", "local", "tickets[0].decide"),
            ("answer", "local", "tickets[1].decide"),
            ("signal", "local", "payment"),
        ]
        one = await call(client, "get_run", run_id=run_id, select="steps.tickets[1].decide.output.form")
        assert one["selected"] == {"hours": 1, "rate": 80}
