"""Runs as tasks, for clients that declare the extension: what they see of a run, and what they can do to it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import MCPError
from mcp_types import CallToolResult, ElicitResult

from mcp_workflows.mcp_server.people.asked import MAX_REFUSALS
from mcp_workflows.mcp_server.tasks import EXTENSION
from mcp_workflows.samples.faults import Fault
from tests.mcp_server.actors import Actors
from tests.mcp_server.onboarding import CUSTOMER, ONBOARD, TICKETS
from tests.mcp_server.place import SAGA, TRANSPORTS, Place, edited, place, refused, told
from tests.mcp_server.task_client import TaskClient, TasksExtension

pytestmark = pytest.mark.anyio

MODERN = [transport for transport in TRANSPORTS if transport.endswith("2026")]
INSTANT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"

ORDER = {"order_id": "o1", "amount": 12, "shipment_status": "2OO"}
PAUSING = edited(SAGA, ("\nsteps:", "\non_failure: pause\nmcp: {wait: 20s}\nsteps:"))
FAILING = edited(SAGA, ("\nsteps:", "\nmcp: {wait: 20s}\nsteps:"))

QUICK = """
name: quick
description: Has its result at once.
output_schema: {type: object, required: [seen], properties: {seen: {type: string}}}
input: {required: [what], properties: {what: {type: string}}}
steps:
  - id: see
    set: {seen: "${input.what}"}
output: {seen: "${steps.see.output.seen}"}
"""

SLOW = QUICK.replace("name: quick", "name: slow").replace("steps:\n", "steps:\n  - wait: 500ms\n", 1)

ROUNDS = """
name: rounds
description: Asks the same question until somebody says no.
steps:
  - id: rounds
    repeat:
      max_iterations: 5
      steps:
        - id: more
          approval: {message: "Another one?", on_reject: continue}
      until: ${steps.more.output.decision == "rejected"}
      collect: ${steps.more.output.decision}
"""


async def person(_context: Any, _params: Any) -> ElicitResult:
    """Whoever sits there is asked in tasks alone."""
    raise AssertionError("asked outside of the task")


@asynccontextmanager
async def tasks(here: Place, transport: str, **options: Any) -> AsyncGenerator[TaskClient]:
    """A client that knows tasks, and can show forms."""
    extension = TasksExtension()
    given = {"elicitation_callback": person, **options}
    async with here.client(transport, extensions=[extension], **given) as client:
        yield TaskClient(client, extension)


async def code_of(asking: Any) -> tuple[int, str]:
    with pytest.raises(MCPError) as error:
        await asking
    return error.value.code, error.value.message


@pytest.mark.parametrize("transport", MODERN)
async def test_a_person_approves_in_a_task_and_its_result_is_that_of_the_tool(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"onboard": ONBOARD}) as here, tasks(here, transport) as client:
        created = await client.call("onboard_customer", **CUSTOMER)
        task_id = created["taskId"]
        assert re.fullmatch("r_[0-9a-hjkmnp-tv-z]{26}", task_id)
        assert re.fullmatch(INSTANT, created["createdAt"])
        assert re.fullmatch(INSTANT, created["lastUpdatedAt"])
        assert {key: created[key] for key in created if not key.endswith("At")} == {
            "resultType": "task",
            "taskId": task_id,
            "status": "working",
            "statusMessage": "Waits for approve: Enterprise plan for buyer@example.com?",
            "ttlMs": None,
            "pollIntervalMs": 5000,
        }

        asked = await client.until(task_id, "input_required")
        message = asked["inputRequests"]["approve#1"]["params"].pop("message")
        assert re.fullmatch(
            rf"Enterprise plan for buyer@example\.com\?\n\nonboard_customer, {task_id} \(until \d\d \w{{3}} \d\d:\d\d UTC\)",
            message,
        )
        assert {key: asked[key] for key in asked if not key.endswith("At")} == {
            "taskId": task_id,
            "status": "input_required",
            "statusMessage": "Waits for approve: Enterprise plan for buyer@example.com?",
            "ttlMs": None,
            "pollIntervalMs": 5000,
            "inputRequests": {
                "approve#1": {
                    "method": "elicitation/create",
                    "params": {
                        "mode": "form",
                        "requestedSchema": {
                            "type": "object",
                            "properties": {
                                "decision": {
                                    "type": "string",
                                    "title": "Decision",
                                    "enum": ["approved", "rejected"],
                                },
                                "note": {"type": "string", "title": "Note"},
                            },
                            "required": ["decision"],
                        },
                    },
                }
            },
        }

        await client.update(task_id, **{"approve#1": {"decision": "approved", "note": "fine"}})
        done = await client.until(task_id, "completed")
        assert {key: done[key] for key in done if not key.endswith("At")} == {
            "taskId": task_id,
            "status": "completed",
            "ttlMs": None,
            "result": done["result"],
        }
        run = {
            "run_id": task_id,
            "status": "completed",
            "result": {"account_id": "a_1", "charge_id": "c_1", "approved_by": "local"},
        }
        assert told(CallToolResult.model_validate(done["result"])) == run
        async with here.client(transport) as plain:
            trace = told(await plain.call_tool("get_run", {"run_id": task_id, "select": "trace"}))["selected"]
        (message,) = trace["messages"]
        assert message["actor"] == "local"
        assert message["body"] == {
            "path": "approve", "generation": 1, "decision": "approved", "note": "fine", "via": "task",
        }  # fmt: skip
        decision = next(step for step in trace["steps"] if step["path"] == "approve")["output"]
        assert (decision["by"], decision["via"]) == ("local", "task")
        assert "at" in decision


@pytest.mark.parametrize("transport", MODERN)
async def test_the_result_of_a_task_is_what_the_call_would_have_answered(tmp_path: Path, transport: str) -> None:
    failing = FAILING.replace("max_attempts: 6, delay: 1s", "max_attempts: 6, delay: 400ms")
    definitions = {"slow": SLOW, "saga": failing}
    async with (
        place(tmp_path, definitions) as here,
        tasks(here, transport) as client,
        here.client(transport) as plain,
    ):
        here.world.faults.add(Fault("shop", "POST", "/shipping/book", "slow", times=2, seconds=0.6))
        for tool, arguments, is_error in [("slow", {"what": "x"}, False), ("saga_order_fulfillment", ORDER, True)]:
            answer = await plain.call_tool(tool, arguments)
            created = await client.call(tool, **{**arguments, "_idempotency_key": "another"})
            task = await client.until(created["taskId"], "completed")
            assert answer.is_error is is_error
            theirs = answer.model_dump_json(by_alias=True, exclude_none=True, exclude={"meta"})
            first = told(answer)["run_id"]
            ours = json.dumps(task["result"])
            assert alike(ours.replace(created["taskId"], "R")) == alike(theirs.replace(first, "R"))


def alike(text: str) -> Any:
    """The numbers that the samples give their records go on from run to run."""
    return json.loads(re.sub(r"\b([a-z])_\d+", r"\1_N", text))


@pytest.mark.parametrize("transport", MODERN)
async def test_what_ends_at_once_and_what_is_refused_is_answered_without_a_task(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"quick": QUICK}) as here, tasks(here, transport) as client:
        done = told(await client.client.call_tool("quick", {"what": "x"}))
        assert (done["status"], done["result"]) == ("completed", {"seen": "x"})
        no = refused(await client.client.call_tool("quick", {"what": 1}))
        assert no == "Input refused, no run was started. what: 1 is an integer, expected string."
        deep: Any = "x"
        for _ in range(100):
            deep = [deep]
        assert refused(await client.client.call_tool("quick", {"what": deep})).startswith("Input refused")
        assert told(await client.client.call_tool("list_runs", {}))["runs"] == []
        found = await client.get(done["run_id"])
        assert (found["status"], found["result"]["structuredContent"]) == ("completed", done), "a run is a task always"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_who_does_not_declare_tasks_gets_none_and_may_ask_for_none(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"onboard": ONBOARD}) as here, here.client(transport) as plain:
        run = told(await plain.call_tool("onboard_customer", CUSTOMER))
        assert run["status"] == "waiting"
        extensions = plain.server_capabilities.extensions or {}
        assert (EXTENSION in extensions) is transport.endswith("2026")
        client = TaskClient(plain, TasksExtension())
        for asking in (client.get(run["run_id"]), client.update(run["run_id"]), client.cancel(run["run_id"])):
            code, message = await code_of(asking)
            if transport.endswith("2026"):
                assert (code, message) == (-32021, f"This needs the extension {EXTENSION}.")
            else:
                assert code == -32601
        if transport.endswith("2026"):
            assert (await code_of(client.listen(run["run_id"])))[0] == -32021
        assert told(await plain.call_tool("get_run", {"run_id": run["run_id"]}))["status"] == "waiting"


@pytest.mark.parametrize("transport", MODERN)
async def test_a_task_of_somebody_else_is_as_unknown_as_none(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"onboard": ONBOARD}) as here, tasks(here, transport) as client:
        foreign = await here.app.runs.start("onboard_customer", CUSTOMER, actor="somebody")
        await here.app.runs.wait(foreign.run_id, actor=None, seconds=20, known=())
        own = (await client.call("onboard_customer", **CUSTOMER))["taskId"]
        absent = "r_" + "0" * 26
        for task_id in (foreign.run_id, absent, own[:-1], own[:12], "", "x" * 5000, "r_\ud7ff"):
            answers = {"approve#1": {"decision": "approved"}}
            for asking in (client.get(task_id), client.update(task_id, **answers), client.cancel(task_id)):
                assert await code_of(asking) == (-32602, "No such task.")
        async with client.listening(foreign.run_id, absent, own[:12], own):
            assert (await client.hears("input_required"))["taskId"] == own
        assert client.told.empty()
        view = await here.app.runs.get(foreign.run_id, actor=None)
        assert view.status == "waiting"
        assert (await here.app.runs.trace(foreign.run_id, actor=None)).messages == []


META: dict[str, Any] = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}, "extensions": {EXTENSION: {}}},
}


async def post(url: str, method: str, header: str | None, **params: Any) -> tuple[int, dict[str, Any]]:
    """One bare request: the HTTP status and the body."""
    headers = {
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": method,
        "Accept": "application/json, text/event-stream",
        **({} if header is None else {"Mcp-Name": header}),
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"_meta": META, **params}}
    async with httpx2.AsyncClient(trust_env=False) as http:
        answer = await http.post(url, json=body, headers=headers)
    return answer.status_code, answer.json()


@pytest.mark.parametrize("named", [True, False], ids=["named", "not named"])
@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
async def test_over_http_the_header_names_no_other_task_or_nothing_is_done(
    tmp_path: Path, method: str, named: bool
) -> None:
    """Not every client sends it; see ``tests.clients.test_fastmcp``."""
    async with place(tmp_path, {"onboard": ONBOARD}) as here, here.listening() as url:
        run_id = (await here.app.runs.start("onboard_customer", CUSTOMER, actor="local")).run_id
        await here.app.runs.wait(run_id, actor="local", seconds=20, known=())
        answer = {"approve#1": {"action": "accept", "content": {"decision": "approved"}}}
        more: dict[str, Any] = {"inputResponses": answer} if method == "tasks/update" else {}
        for header in ("", "r_other"):
            status, reply = await post(url, method, header, taskId=run_id, **more)
            assert (status, reply["error"]["code"]) == (400, -32020)
        broken: list[dict[str, Any]] = [{"taskId": 7, **more}, {**more}]
        if method == "tasks/update":
            broken += [{"taskId": run_id}, {"taskId": run_id, "inputResponses": []}]
        for params in broken:
            status, reply = await post(url, method, run_id, **params)
            assert (status, reply["error"]["code"]) == (400, -32602)
        assert (await here.app.runs.get(run_id, actor="local")).status == "waiting"
        status, reply = await post(url, method, run_id if named else None, taskId=run_id, **more)
        assert (status, reply["result"]["resultType"]) == (200, "complete")
        if method == "tasks/get":
            assert reply["result"]["ttlMs"] is None, "null is said, and not left out"
        else:
            assert (await here.app.runs.wait(run_id, actor="local", seconds=20)).status != "waiting"


async def test_no_key_of_a_task_is_ever_used_for_another_request(tmp_path: Path, url: str) -> None:
    text = ROUNDS.replace("on_reject: continue", "on_reject: fail").replace("steps:", "on_failure: pause\nsteps:", 1)
    async with (
        place(tmp_path, {"rounds": text}, database_url=url) as here,
        tasks(here, "http, 2026") as client,
    ):
        task_id = (await client.call("rounds"))["taskId"]
        seen: list[str] = []

        async def answer(content: dict[str, Any]) -> None:
            task = await client.until(task_id, "input_required")
            (key,) = task["inputRequests"]
            assert key not in seen
            seen.append(key)
            await client.update(task_id, **{key: content})

        await answer({"decision": "approved"})
        await answer({"decision": "rejected", "note": "no"})
        await answer({"choice": "resume"})
        await answer({"decision": "rejected"})
        await answer({"choice": "resume"})
        await answer({"decision": "approved"})
        assert seen == [
            "rounds[0].more#1", "rounds[1].more#1", "#paused-1", "rounds[1].more#2", "#paused-2", "rounds[1].more#3",
        ]  # fmt: skip
        for key in seen:
            old = {"choice": "cancel"} if key.startswith("#") else {"decision": "rejected"}
            await client.update(task_id, **{key: old})
        task = await client.until(task_id, "input_required")
        assert list(task["inputRequests"]) == ["rounds[2].more#1"], "answers to what is over change nothing"


@pytest.mark.parametrize("transport", MODERN)
async def test_what_is_asked_at_the_same_time_may_be_answered_one_by_one(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"tickets": TICKETS}) as here, tasks(here, transport) as client:
        task_id = (await client.call("work_tickets"))["taskId"]
        task = await client.until(task_id, "input_required")
        first, second = "tickets[0].decide#1", "tickets[1].decide#1"
        assert list(task["inputRequests"]) == [first, second]
        schema = task["inputRequests"][first]["params"]["requestedSchema"]
        assert schema["required"] == ["decision", "hours"]
        assert schema["properties"]["hours"] == {"type": "integer", "minimum": 1}
        assert schema["properties"]["rate"] == {"type": "number", "default": 80}

        await client.update(task_id, **{second: {"decision": "approved", "hours": 3}, "nonsense": {"ignored": True}})
        task = await client.get(task_id)
        assert (task["status"], list(task["inputRequests"])) == ("input_required", [first])
        await client.update(task_id, **{first: {"decision": "rejected"}, second: {"decision": "rejected"}})
        task = await client.until(task_id, "input_required")
        assert task["inputRequests"]["paid#1"]["params"]["requestedSchema"] == {
            "type": "object", "properties": {"amount": {"type": "number"}}, "required": ["amount"],
        }  # fmt: skip
        await client.update(task_id, **{"paid#1": {"amount": 240}})
        done = await client.until(task_id, "completed")
        result = done["result"]["structuredContent"]["result"]
        rejected, approved = result["decisions"]
        assert (rejected["decision"], approved["decision"], approved["form"]) == (
            "rejected", "approved", {"hours": 3, "rate": 80},
        )  # fmt: skip
        assert result["amount"] == 240


@pytest.mark.parametrize("transport", MODERN)
async def test_what_decides_nothing_leaves_the_question_open(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"onboard": ONBOARD}) as here, tasks(here, transport) as client:
        task_id = (await client.call("onboard_customer", **CUSTOMER))["taskId"]
        before = await client.until(task_id, "input_required")
        for said in (
            {"action": "decline"},
            {"action": "cancel"},
            {"action": "cancel", "content": {"decision": "approved"}},
        ):
            await client.update(task_id, **{"approve#1": said})
        code, _ = await code_of(client.update(task_id, **{"approve#1": {"action": "shrug"}}))
        assert code == -32602
        assert await client.get(task_id) == before
        assert (await here.app.runs.trace(task_id, actor=None)).messages == []


@pytest.mark.parametrize("transport", MODERN)
async def test_what_does_not_fit_is_asked_again_with_why_in_a_request_of_its_own(
    tmp_path: Path, transport: str
) -> None:
    """A client takes an error for the end of the task, and shows nobody a request that it has shown before."""
    async with place(tmp_path, {"onboard": ONBOARD}) as here, tasks(here, transport) as client:
        task_id = (await client.call("onboard_customer", **CUSTOMER))["taskId"]
        before = await client.until(task_id, "input_required")
        (first,) = before["inputRequests"].values()
        keys = ["approve#1"]
        async with client.listening(task_id):
            await client.hears("input_required")
            for content, why in [
                ({}, "data refused: decision: is missing. The run still waits."),
                (
                    {"decision": "yes"},
                    'data refused: decision: "yes" is not one of approved, rejected. The run still waits.',
                ),
                (
                    {"decision": "approved", "note": 7},
                    "data refused: note: 7 is an integer, expected string. The run still waits.",
                ),
            ]:
                await client.update(task_id, **{keys[-1]: content})
                asked = await client.get(task_id)
                assert asked == await client.hears("input_required"), "who listens is told"
                ((key, request),) = asked["inputRequests"].items()
                assert key not in keys
                keys.append(key)
                assert request["params"]["message"] == f"{why}\n\n{first['params']['message']}"
                assert request["params"]["requestedSchema"] == first["params"]["requestedSchema"]
                await client.update(task_id, **{"approve#1": {"decision": "rejected"}})
                assert await client.get(task_id) == asked, "what was asked before is no longer asked"
        assert keys == ["approve#1", "approve#1~2", "approve#1~3", "approve#1~4"]
        trace = await here.app.runs.trace(task_id, actor=None)
        assert [(one.kind, one.actor, one.body["via"]) for one in trace.messages] == [("refusal", "local", "task")] * 3
        await client.update(task_id, **{keys[-1]: {"decision": "approved"}})
        await client.until(task_id, "completed")


async def test_a_client_that_never_learns_is_not_asked_for_ever(tmp_path: Path) -> None:
    async with place(tmp_path, {"onboard": ONBOARD}) as here, tasks(here, "in process, 2026") as client:
        task_id = (await client.call("onboard_customer", **CUSTOMER))["taskId"]
        for _ in range(MAX_REFUSALS):
            (key,) = (await client.until(task_id, "input_required"))["inputRequests"]
            await client.update(task_id, **{key: {"decision": "yes"}})
        (last,) = (await client.get(task_id))["inputRequests"]
        assert last == f"approve#1~{MAX_REFUSALS + 1}"
        code, why = await code_of(client.update(task_id, **{last: {"decision": "yes"}}))
        assert (code, why.startswith("data refused: decision:")) == (-32602, True)
        assert len((await here.app.runs.trace(task_id, actor=None)).messages) == MAX_REFUSALS
        await client.update(task_id, **{last: {"decision": "approved"}})
        await client.until(task_id, "completed")


async def test_answers_in_vain_at_the_same_time_are_asked_again_once(tmp_path: Path, url: str) -> None:
    async with (
        place(tmp_path, {"onboard": ONBOARD}, database_url=url) as here,
        tasks(here, "http, 2026") as client,
    ):
        task_id = (await client.call("onboard_customer", **CUSTOMER))["taskId"]
        await client.until(task_id, "input_required")
        await asyncio.gather(*(client.update(task_id, **{"approve#1": {"decision": "yes"}}) for _ in range(5)))
        assert list((await client.get(task_id))["inputRequests"]) == ["approve#1~2"]


@pytest.mark.parametrize("transport", MODERN)
async def test_only_whoever_may_decide_is_asked(tmp_path: Path, transport: str) -> None:
    text = ONBOARD.replace("timeout: 3d", 'timeout: 3d\n      approvers: ["cli:anna"]')
    async with place(tmp_path, {"onboard": text}) as here, tasks(here, transport) as client:
        task_id = (await client.call("onboard_customer", **CUSTOMER))["taskId"]
        await here.app.runs.wait(task_id, actor="local", seconds=20, known=())
        task = await client.get(task_id)
        assert (task["status"], "inputRequests" in task) == ("working", False)
        assert task["statusMessage"].startswith("Waits for approve (by cli:anna): Enterprise plan")
        await client.update(task_id, **{"approve#1": {"decision": "approved"}})
        assert (await client.get(task_id))["status"] == "working"
        assert (await here.app.runs.trace(task_id, actor=None)).messages == []


async def test_a_client_that_cannot_show_forms_is_told_where_its_person_is_asked(tmp_path: Path) -> None:
    async with (
        place(tmp_path, {"onboard": ONBOARD}) as here,
        tasks(here, "in process, 2026", elicitation_callback=None) as client,
    ):
        task_id = (await client.call("onboard_customer", **CUSTOMER))["taskId"]
        await here.app.runs.wait(task_id, actor="local", seconds=20, known=())
        task = await client.get(task_id)
        assert (task["status"], "inputRequests" in task) == ("working", False)
        command = f"mcp-workflows signal {task_id} approve --database {here.app.settings.database_file}"
        assert task["statusMessage"] == f"Waits for approve: Enterprise plan for buyer@example.com? Answer: {command}"


@pytest.mark.parametrize("transport", MODERN)
async def test_a_run_that_stands_still_asks_how_it_goes_on(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"saga": PAUSING}) as here, tasks(here, transport) as client:
        here.world.faults.add(Fault("shop", "POST", "/shipping/book", "slow", seconds=0.5))
        task_id = (await client.call("saga_order_fulfillment", **ORDER))["taskId"]
        task = await client.until(task_id, "input_required")
        request = task["inputRequests"]["#paused-1"]["params"]
        assert request["message"].startswith("saga_order_fulfillment stands still. ship: POST ")
        schema = request["requestedSchema"]
        ways = [way["const"] for way in schema["properties"]["choice"]["oneOf"]]
        assert ways == ["resume", "output", "cancel"], "its output is needed, so that it cannot be left out"
        assert schema["properties"]["choice"]["oneOf"][-1]["title"] == "Cancel the run and undo charge and reserve"
        assert list(schema["properties"]) == ["choice", "input", "request", "output", "reason"]

        key = "#paused-1"
        for content, why in [
            ({"choice": "perhaps"}, 'choice: "perhaps" is not known'),
            ({"choice": "resume", "input": "{"}, "was not resumed"),
            ({"choice": "resume", "input": '{"amount": "much"}'}, "amount: "),
            ({"choice": "resume", "request": '{"url": "http://elsewhere"}'}, '"url" cannot be corrected'),
            ({"choice": "output"}, "output: is missing"),
            ({"choice": "skip"}, "cannot be skipped"),
            ({"choice": "again"}, "again is only for"),
        ]:
            await client.update(task_id, **{key: content})
            ((key, request),) = (await client.get(task_id))["inputRequests"].items()
            assert why in request["params"]["message"].split("\n\n")[0]
        assert key == "#paused-1~8"

        corrected = {"choice": "resume", "input": '{"shipment_status": "200"}', "reason": "typo"}
        await client.update(task_id, **{key: corrected})
        done = await client.until(task_id, "completed")
        assert done["result"]["structuredContent"]["status"] == "completed"
        message = (await here.app.runs.trace(task_id, actor=None)).messages[-1]
        assert (message.kind, message.actor, message.body["via"], message.reason) == ("resume", "local", "task", "typo")


RESUMABLE = edited(SAGA, ("\nsteps:", "\non_failure: fail\nmcp: {wait: 20s}\nsteps:"))


@pytest.mark.parametrize("transport", MODERN)
async def test_a_task_that_has_ended_stays_so_when_its_run_is_resumed(tmp_path: Path, transport: str) -> None:
    """A client is done with a task that has ended. Whoever asks for it all the same is told how far the run is."""
    async with place(tmp_path, {"saga": RESUMABLE}) as here, tasks(here, transport) as client:
        here.world.faults.add(Fault("shop", "POST", "/shipping/book", "slow", seconds=0.6))
        task_id = (await client.call("saga_order_fulfillment", **ORDER))["taskId"]
        async with client.listening(task_id):
            failed = await client.hears("completed")
            assert failed["result"]["isError"] is True
            assert failed["result"]["structuredContent"]["status"] == "failed"

            here.world.faults.add(Fault("shop", "POST", "/shipping/book", "hold"))
            async with here.client(transport) as plain:
                fixed = {"run_id": task_id, "input": {"shipment_status": "200"}}
                resuming = asyncio.create_task(plain.call_tool("resume_run", fixed))
                await here.called("/shipping/book", 2)
                again = await client.get(task_id)
                assert (again["status"], again["result"]["isError"]) == ("completed", False)
                assert again["result"]["structuredContent"]["status"] == "running"
                assert not {"inputRequests", "pollIntervalMs"} & again.keys()
                joined = told(
                    await client.client.call_tool("saga_order_fulfillment", {**ORDER, "shipment_status": "2OO"})
                )
                assert (joined["run_id"], joined["joined"], joined["status"]) == (task_id, True, "running"), "no task"
                here.world.lift_faults()
                await resuming
            done = await client.get(task_id)
            assert done["result"]["structuredContent"]["status"] == "completed"
            assert client.told.empty(), "nothing is told of a task after its end"


@pytest.mark.parametrize("transport", MODERN)
async def test_a_task_is_cancelled_and_undone_by_its_method_and_by_its_form(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"saga": PAUSING}) as here, tasks(here, transport) as client:
        here.world.faults.add(Fault("shop", "POST", "/shipping/book", "slow", times=2, seconds=0.5))
        for cancel_by_form in (False, True):
            order = {**ORDER, "order_id": f"o{cancel_by_form}"}
            task_id = (await client.call("saga_order_fulfillment", **order))["taskId"]
            await client.until(task_id, "input_required")
            if cancel_by_form:
                await client.update(task_id, **{"#paused-1": {"choice": "cancel", "reason": "left"}})
            else:
                await client.cancel(task_id)
            task = await client.until(task_id, "cancelled")
            assert not {"result", "inputRequests", "error", "pollIntervalMs"} & task.keys()
            await client.cancel(task_id)
            assert await client.get(task_id) == task, "an ended task stays as it is"
        assert here.times_called("/payments/refund") == 2


@pytest.mark.parametrize("transport", MODERN)
async def test_who_listens_is_told_the_whole_task_as_it_changes(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"onboard": ONBOARD}) as here, tasks(here, transport) as client:
        task_id = (await client.call("onboard_customer", **CUSTOMER))["taskId"]
        async with client.listening(task_id):
            asked = await client.hears("input_required")
            assert asked == await client.get(task_id)
            await client.update(task_id, **{"approve#1": {"decision": "approved"}})
            done = await client.hears("completed")
            assert done == await client.get(task_id)
            assert client.told.empty()
        async with asyncio.timeout(20):
            while here.server.following:  # noqa: ASYNC110 (nobody is told that a client has gone)
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("transport", MODERN)
async def test_a_client_that_drives_tasks_itself_sees_nothing_but_the_result(tmp_path: Path, transport: str) -> None:
    class Approving(TasksExtension):
        def answer(self, message: str, schema: Any) -> dict[str, Any]:
            assert message.startswith("Enterprise plan for buyer@example.com?")
            return {"decision": "approved"}

    async with (
        place(tmp_path, {"onboard": ONBOARD}) as here,
        here.client(transport, extensions=[Approving()], elicitation_callback=person) as client,
    ):
        run = told(await client.call_tool("onboard_customer", CUSTOMER))
        assert (run["status"], run["result"]["approved_by"]) == ("completed", "local")


@pytest.mark.parametrize("transport", MODERN)
async def test_a_call_that_is_made_again_joins_the_task_that_is_under_way(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"onboard": ONBOARD}) as here, tasks(here, transport) as client:
        first = await client.call("onboard_customer", **CUSTOMER)
        again = await client.call("onboard_customer", **CUSTOMER)
        assert (again["taskId"], again["createdAt"]) == (first["taskId"], first["createdAt"])


@pytest.mark.parametrize("transport", MODERN)
async def test_of_many_answers_to_a_task_one_counts(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"onboard": ONBOARD}) as here, tasks(here, transport) as client:
        task_id = (await client.call("onboard_customer", **CUSTOMER))["taskId"]
        await client.until(task_id, "input_required")
        answers = [{"approve#1": {"decision": decision}} for decision in ("approved", "rejected") * 4]
        await asyncio.gather(*(client.update(task_id, **answer) for answer in answers))
        await client.until(task_id, "completed")
        assert len((await here.app.runs.trace(task_id, actor=None)).messages) == 1


async def test_a_task_that_nobody_waits_for_goes_on(tmp_path: Path) -> None:
    async with place(tmp_path, {"onboard": ONBOARD}) as here:
        async with tasks(here, "http, 2026") as client:
            task_id = (await client.call("onboard_customer", **CUSTOMER))["taskId"]
            await client.until(task_id, "input_required")
        await here.app.runs.signal(
            task_id, "approve", {"decision": "approved"}, actor=None, via="cli", person=True, by="cli:anna"
        )
        async with tasks(here, "in process, 2026") as later:
            done = await later.until(task_id, "completed")
        assert done["result"]["structuredContent"]["result"]["approved_by"] == "cli:anna"


@pytest.mark.parametrize("reading", [True, False])
async def test_tokens_say_whose_tasks_are_whose_and_who_may_answer_them(tmp_path: Path, reading: bool) -> None:
    eve = ("workflows:read",) if reading else ("workflows:run",)
    actors = Actors(tmp_path, {"anna": ("workflows:run",), "eve": eve, "boss": ("workflows:operate",)})

    @asynccontextmanager
    async def at(url: str, actor: str) -> AsyncGenerator[TaskClient]:
        extension = TasksExtension()
        async with actors.client(url, actor, extensions=[extension], elicitation_callback=person) as client:
            yield TaskClient(client, extension)

    async with (
        place(tmp_path, {"onboard": ONBOARD}) as here,
        here.listening(authentication=actors.authentication) as url,
        at(url, "anna") as anna,
        at(url, "eve") as eve_there,
        at(url, "boss") as boss,
    ):
        task_id = (await anna.call("onboard_customer", **CUSTOMER))["taskId"]
        await anna.until(task_id, "input_required")
        approved = {"approve#1": {"decision": "approved"}}
        assert await code_of(eve_there.get(task_id)) == (-32602, "No such task.")
        for asking in (eve_there.update(task_id, **approved), eve_there.cancel(task_id)):
            code, message = await code_of(asking)
            if reading:
                assert (code, "eve may not change runs" in message) == (-32600, True)
            else:
                assert (code, message) == (-32602, "No such task.")
        async with eve_there.listening(task_id), boss.listening(task_id):
            await boss.hears("input_required")
        assert eve_there.told.empty()
        assert (await here.app.runs.trace(task_id, actor=None)).messages == []

        await boss.update(task_id, **approved)
        done = await anna.until(task_id, "completed")
        assert done["result"]["structuredContent"]["result"]["approved_by"] == "boss"


@pytest.mark.parametrize("transport", MODERN)
async def test_calls_given_up_at_any_moment_leave_whole_tasks_or_none(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"onboard": ONBOARD}) as here, tasks(here, transport) as client:
        keys = [f"k{number}" for number in range(12)]
        for number, key in enumerate(keys):
            call = asyncio.create_task(client.call("onboard_customer", **CUSTOMER, _idempotency_key=key))
            for _ in range(number * 2):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        for key in keys:
            task_id = (await client.call("onboard_customer", **CUSTOMER, _idempotency_key=key))["taskId"]
            await client.until(task_id, "input_required")
        assert here.times_called("/accounts") == len(keys)


async def test_a_workflow_that_had_to_be_found_is_a_task_like_any_other_and_under_a_prefix_too(tmp_path: Path) -> None:
    options: dict[str, Any] = {"max_tools": 0, "tool_prefix": "my_"}
    async with place(tmp_path, {"slow": SLOW}, **options) as here, tasks(here, "in process, 2026") as client:
        created = await client.call("my_start_workflow", name="slow", input={"what": "x"})
        ended = await client.until(created["taskId"], "completed")
        assert ended["result"]["structuredContent"]["result"] == {"seen": "x"}
