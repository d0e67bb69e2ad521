"""Approvals that reach the person at the client, in both eras: asked while a call waits, and never decided for them."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp.client.context import ClientRequestContext
from mcp_types import (
    ElicitRequestFormParams,
    ElicitRequestParams,
    ElicitResult,
    ErrorData,
    InputRequiredResult,
    ListRootsResult,
)

from mcp_workflows.mcp_server.server import WorkflowServer
from mcp_workflows.mcp_server.tools import follower
from mcp_workflows.runtime.views import RunQuery
from tests.mcp_server.actors import Actors
from tests.mcp_server.onboarding import CUSTOMER, ONBOARD, call
from tests.mcp_server.place import LEGACY, MODERN, TRANSPORTS, Place, installed, place, refused, told
from tests.mcp_server.rounds import Rounds, answers_of, nobody

pytestmark = pytest.mark.anyio


TWICE = """
name: twice
description: Asks two questions, one after the other.
mcp: {wait: 20s}
steps:
  - id: first
    approval: {message: The first?, on_reject: continue}
  - id: second
    approval:
      message: The second?
      form: {required: [amount], properties: {amount: {type: integer, minimum: 1}, tags: {type: array, items: {type: string}}}}
output: ${[steps.first.output.decision, steps.second.output.decision, string(steps.second.output.form.amount)]}
"""

_OPEN = RunQuery()
_ANY = RunQuery(status="any")

YES = ElicitResult(action="accept", content={"decision": "approved"})


class Person:
    """Answers what the client shows to them, and remembers what that was."""

    def __init__(self, *answers: ElicitResult | ErrorData) -> None:
        self.asked: list[ElicitRequestFormParams] = []
        self.showing = asyncio.Event()
        self.taken_back = asyncio.Event()
        self._answers = list(answers)

    async def __call__(self, _context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult | ErrorData:
        assert isinstance(params, ElicitRequestFormParams)
        self.asked.append(params)
        self.showing.set()
        if self._answers:
            return self._answers.pop(0)
        try:
            await asyncio.Event().wait()
        finally:
            self.taken_back.set()
        raise AssertionError

    def messages(self) -> list[str]:
        return [params.message.split("\n\n")[0] for params in self.asked]


def accept(**content: Any) -> ElicitResult:
    return ElicitResult(action="accept", content=content)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_person_is_asked_at_once_and_the_call_has_the_result(tmp_path: Path, transport: str) -> None:
    anna = Person(accept(decision="approved", note="welcome"))
    async with (
        place(tmp_path, {"onboard": ONBOARD}) as here,
        here.client(transport, elicitation_callback=anna) as client,
    ):
        run = await call(client, "onboard_customer", **CUSTOMER)
        assert run == {
            "run_id": run["run_id"],
            "status": "completed",
            "result": {"account_id": "a_1", "charge_id": "c_1", "approved_by": "local"},
        }
        (asked,) = anna.asked
        assert re.fullmatch(
            rf"Enterprise plan for buyer@example\.com\?\n\nonboard_customer, {run['run_id']} \(until .*\)",
            asked.message,
        )
        assert asked.requested_schema == {
            "type": "object",
            "properties": {
                "decision": {"type": "string", "title": "Decision", "enum": ["approved", "rejected"]},
                "note": {"type": "string", "title": "Note"},
            },
            "required": ["decision"],
        }
        assert await answers_of(here, run["run_id"]) == [("local", "elicitation", "approved")]
        selected = await call(client, "get_run", run_id=run["run_id"], select="steps.approve.output")
        decision = selected["selected"]
        assert (decision["decision"], decision["by"], decision["via"], decision["note"]) == (
            "approved", "local", "elicitation", "welcome",
        )  # fmt: skip
        assert re.match(r"\d{4}-\d\d-\d\dT", decision["at"])


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_each_question_is_asked_and_an_answer_that_does_not_fit_is_asked_again(
    tmp_path: Path, transport: str
) -> None:
    anna = Person(
        accept(decision="rejected"),
        accept(decision="approved", amount=0),
        accept(decision="approved", amount=2, tags='["a"]', more="is passed over"),
    )
    async with place(tmp_path, {"twice": TWICE}) as here, here.client(transport, elicitation_callback=anna) as client:
        run = await call(client, "twice")
        assert run["result"] == ["rejected", "approved", "2"]
        assert anna.messages() == [
            "The first?",
            "The second?",
            "data refused: form.amount: 0 is too small, expected at least 1. The run still waits.",
        ]
        assert anna.asked[1].requested_schema["required"] == ["decision", "amount"]
        selected = await call(client, "get_run", run_id=run["run_id"], select="steps.second.output.form")
        assert selected["selected"] == {"amount": 2, "tags": ["a"]}


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_a_person_who_does_not_decide_has_decided_nothing(tmp_path: Path, transport: str, action: Any) -> None:
    anna = Person(ElicitResult(action=action), ElicitResult(action=action, content={"decision": "approved"}), YES)
    async with (
        place(tmp_path, {"onboard": ONBOARD}) as here,
        here.client(transport, elicitation_callback=anna) as client,
    ):
        async with asyncio.timeout(20):
            run = await call(client, "onboard_customer", **CUSTOMER)
        said = "declined to answer" if action == "decline" else "did not answer"
        assert run["status"] == "waiting"
        assert run["next"] == (
            f"The person at this client was asked about approve and {said}. "
            "A person decides: give the user the command, then call get_run with wait_seconds 50."
        )
        assert run["waiting_for"][0]["name"] == "approve"
        assert len(anna.asked) == 1
        looked = await call(client, "get_run", run_id=run["run_id"])
        assert (looked["status"], len(anna.asked)) == ("waiting", 1), "who only looks asks nobody"
        waited = await call(client, "get_run", run_id=run["run_id"], wait_seconds=20)
        assert (waited["status"], waited["workflow"], len(anna.asked)) == ("waiting", "onboard_customer", 2)
        assert await answers_of(here, run["run_id"]) == []
        done = await call(client, "get_run", run_id=run["run_id"], wait_seconds=20)
        assert (done["status"], done["version"]) == ("completed", 1)


@pytest.mark.parametrize("transport", LEGACY)
async def test_an_answer_from_elsewhere_takes_the_question_back(tmp_path: Path, transport: str) -> None:
    anna = Person()
    async with (
        place(tmp_path, {"onboard": ONBOARD}) as here,
        here.client(transport, elicitation_callback=anna) as client,
    ):
        asking = asyncio.create_task(call(client, "onboard_customer", **CUSTOMER))
        async with asyncio.timeout(20):
            await anna.showing.wait()
            (view,) = (await here.app.runs.list(_OPEN)).runs
            await here.app.runs.signal(
                view.run_id, "approve", {"decision": "approved"}, actor=None, via="web", person=True, by="web:7"
            )
            run = await asking
            await anna.taken_back.wait()
        assert run["result"]["approved_by"] == "web:7"
        assert await answers_of(here, view.run_id) == [("web:7", "web", "approved")]


@pytest.mark.parametrize("transport", LEGACY)
async def test_a_call_does_not_wait_for_a_person_for_ever_and_the_run_does(
    tmp_path: Path, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "LONGEST_WAIT", 1)
    anna = Person()
    async with (
        place(tmp_path, {"onboard": ONBOARD}) as here,
        here.client(transport, elicitation_callback=anna) as client,
    ):
        async with asyncio.timeout(20):
            run = await call(client, "onboard_customer", **CUSTOMER)
            await anna.taken_back.wait()
        assert run["status"] == "waiting"
        assert run["next"].startswith("A person decides")
        await here.app.runs.signal(
            run["run_id"], "approve", {"decision": "approved"}, actor=None, via="cli", person=True
        )
        assert (await call(client, "get_run", run_id=run["run_id"], wait_seconds=20))["status"] == "completed"


@pytest.mark.parametrize("transport", LEGACY)
async def test_a_call_given_up_while_the_person_is_asked_leaves_the_run_waiting(tmp_path: Path, transport: str) -> None:
    anna = Person()
    async with (
        place(tmp_path, {"onboard": ONBOARD}) as here,
        here.client(transport, elicitation_callback=anna) as client,
    ):
        asking = asyncio.create_task(call(client, "onboard_customer", **CUSTOMER))
        async with asyncio.timeout(20):
            await anna.showing.wait()
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await anna.taken_back.wait()
        (view,) = (await here.app.runs.list(_OPEN)).runs
        assert (view.status, view.waits) == ("waiting", ("approve",))


async def test_the_end_of_the_service_ends_the_question_and_answers_the_call(tmp_path: Path) -> None:
    anna = Person()
    async with (
        place(tmp_path, {"onboard": ONBOARD}) as here,
        here.client("in process, 2025", elicitation_callback=anna) as client,
    ):
        asking = asyncio.create_task(call(client, "onboard_customer", **CUSTOMER))
        async with asyncio.timeout(20):
            await anna.showing.wait()
            await here.server.stop()
            run = await asking
        assert run["next"] == "The service is stopping; the run is safe and goes on. Call get_run in a few seconds."


@pytest.mark.parametrize("transport", LEGACY)
async def test_a_client_that_fails_to_ask_has_decided_nothing(tmp_path: Path, transport: str) -> None:
    anna = Person(ErrorData(code=-32603, message="no screen"))
    async with (
        place(tmp_path, {"onboard": ONBOARD}) as here,
        here.client(transport, elicitation_callback=anna) as client,
    ):
        run = await call(client, "onboard_customer", **CUSTOMER)
        assert (run["status"], await answers_of(here, run["run_id"])) == ("waiting", [])


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_who_has_answered_is_not_asked_again_while_the_answer_is_taken_in(
    tmp_path: Path, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = Person(YES)
    async with (
        place(tmp_path, {"onboard": ONBOARD}) as here,
        here.client(transport, elicitation_callback=anna) as client,
    ):

        async def slow(run_id: str, _wait: str, _data: Any, *, actor: str | None, **_how: Any) -> Any:
            return await here.app.runs.get(run_id, actor=actor)  # as its owner left it

        monkeypatch.setattr(here.app.runs, "answer", slow)
        async with asyncio.timeout(20):
            run = await call(client, "onboard_customer", **CUSTOMER)
        assert (run["status"], len(anna.asked)) == ("waiting", 1)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("why", "text"),
    [
        ("agents may answer it", ONBOARD.replace("timeout: 3d", "by: anyone")),
        ("others must", ONBOARD.replace("timeout: 3d", 'timeout: 3d\n      approvers: ["cli:anna"]')),
    ],
)
async def test_whoever_need_not_or_may_not_decide_is_not_asked(
    tmp_path: Path, transport: str, why: str, text: str
) -> None:
    anna = Person(YES, YES)
    async with place(tmp_path, {"onboard": text}) as here, here.client(transport, elicitation_callback=anna) as client:
        run = await call(client, "onboard_customer", **CUSTOMER)
        assert (run["status"], anna.asked) == ("waiting", []), why


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_approver_at_the_client_is_asked_by_name(tmp_path: Path, transport: str) -> None:
    text = ONBOARD.replace("timeout: 3d", 'approvers: ["local", "web:7"]')
    anna = Person(YES)
    async with place(tmp_path, {"onboard": text}) as here, here.client(transport, elicitation_callback=anna) as client:
        assert (await call(client, "onboard_customer", **CUSTOMER))["status"] == "completed"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_an_agent_that_answers_one_question_has_the_person_asked_the_next(tmp_path: Path, transport: str) -> None:
    text = TWICE.replace("The first?,", "The first?, by: anyone,")
    anna = Person(accept(decision="approved", amount=1))
    async with place(tmp_path, {"twice": text}) as here, here.client(transport, elicitation_callback=anna) as client:
        run = await call(client, "twice")
        assert [wait["name"] for wait in run["waiting_for"]] == ["first"]
        done = await call(client, "signal_run", run_id=run["run_id"], name="first", data={"decision": "approved"})
        assert (done["status"], anna.messages()) == ("completed", ["The second?"])
        sent = await answers_of(here, run["run_id"])
        assert [via for _, via, _ in sent] == ["mcp", "elicitation"], "what a repeated call asked for was done once"


# Since 2026-07-28: what is asked, and the state that comes back with the answer


async def still_waits(here: Place) -> str:
    """The one run there is: nothing was told to it."""
    (view,) = (await here.app.runs.list(_OPEN)).runs
    assert (view.status, view.waits) == ("waiting", ("approve",))
    assert await answers_of(here, view.run_id) == []
    return view.run_id


@pytest.mark.parametrize("transport", MODERN)
async def test_the_state_outlives_the_server_and_is_good_at_every_node(tmp_path: Path, transport: str) -> None:
    async with (
        place(tmp_path, {"onboard": ONBOARD}) as here,
        here.client(transport, elicitation_callback=nobody) as client,
    ):
        asked = await Rounds(client, "onboard_customer", **CUSTOMER).first()
        assert list(asked.input_requests or {}) == ["approve#1"]
        run_id = await still_waits(here)
        assert run_id not in (asked.request_state or ""), "what is in the state is nobody else's business"
        async with installed(tmp_path, here.urls) as other:
            server = WorkflowServer(other.runs)
            async with Client(server, mode="auto", elicitation_callback=nobody) as there:
                rounds = Rounds(there, "onboard_customer", **CUSTOMER)
                run = told(await rounds.again({"approve#1": YES}, asked.request_state))
        assert (run["run_id"], run["status"], "joined" in run) == (run_id, "completed", False)
        assert await answers_of(here, run_id) == [("local", "elicitation", "approved")]
        assert len((await here.app.runs.list(_ANY)).runs) == 1


async def test_an_answer_that_comes_while_the_service_stops_is_taken(tmp_path: Path) -> None:
    async with (
        place(tmp_path, {"onboard": ONBOARD}) as here,
        here.client("in process, 2026", elicitation_callback=nobody) as client,
    ):
        rounds = Rounds(client, "onboard_customer", **CUSTOMER)
        asked = await rounds.first()
        run_id = await still_waits(here)
        await here.server.stop()
        async with asyncio.timeout(20):
            await rounds.again({"approve#1": YES}, asked.request_state)
        assert await answers_of(here, run_id) == [("local", "elicitation", "approved")]


@pytest.mark.parametrize("transport", MODERN)
async def test_a_forged_state_and_one_of_another_call_are_refused_and_change_nothing(
    tmp_path: Path, transport: str
) -> None:
    async with (
        place(tmp_path, {"onboard": ONBOARD}) as here,
        here.client(transport, elicitation_callback=nobody) as client,
    ):
        rounds = Rounds(client, "onboard_customer", **CUSTOMER)
        asked = await rounds.first()
        state = asked.request_state or ""
        run_id = await still_waits(here)

        def flipped(text: str) -> str:
            return text[:40] + ("A" if text[40] != "A" else "B") + text[41:]

        forged: list[tuple[str, dict[str, Any]]] = [
            (flipped(state), {}),
            (state[:-2], {}),
            (state + "A", {}),
            ("v1.AAAA", {}),
            ("", {}),
            (f'["{run_id}", ["approve#1"], 1, false, []]', {}),
            (state, {"email": "other@example.com"}),
            (state, {"tool": "get_run", "run_id": run_id, "wait_seconds": 20}),
        ]
        for text, other in forged:
            with pytest.raises(MCPError) as error:
                await rounds.again({"approve#1": YES}, text, **other)
            assert (error.value.code, error.value.message) == (-32602, "Invalid or expired requestState")
            await still_waits(here)
        view = told(await rounds.again({"approve#1": YES}, state))
        assert view["status"] == "completed"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_who_only_may_look_is_not_asked_and_a_state_is_of_no_use_to_another_actor(
    tmp_path: Path, mode: Any
) -> None:
    actors = Actors(tmp_path, {"anna": ("workflows:run",), "eve": ("workflows:run",), "boss": ("workflows:read",)})
    asked = Person(YES) if mode == "legacy" else nobody
    async with (
        place(tmp_path, {"onboard": ONBOARD}) as here,
        here.listening(authentication=actors.authentication) as url,
        actors.client(url, "anna", mode, elicitation_callback=asked) as anna,
        actors.client(url, "eve", mode, elicitation_callback=nobody) as eve,
    ):
        rounds = Rounds(anna, "onboard_customer", **CUSTOMER)
        if mode == "legacy":
            run = told(await rounds.again(None, None))
        else:
            first = await rounds.first()
            with pytest.raises(MCPError) as error:
                await Rounds(eve, "onboard_customer", **CUSTOMER).again({"approve#1": YES}, first.request_state)
            assert error.value.message == "Invalid or expired requestState"
            await still_waits(here)
            run = told(await rounds.again({"approve#1": YES}, first.request_state))
        assert run["result"]["approved_by"] == "anna"
        view = await here.app.runs.start("onboard_customer", CUSTOMER, actor="boss")
        async with actors.client(url, "boss", mode, elicitation_callback=nobody) as boss:
            looked = await call(boss, "get_run", run_id=view.run_id, wait_seconds=1)
        assert looked["status"] == "waiting"


@pytest.mark.parametrize("transport", MODERN)
async def test_an_answer_for_another_wait_and_one_that_comes_twice_change_nothing(
    tmp_path: Path, transport: str
) -> None:
    async with place(tmp_path, {"twice": TWICE}) as here, here.client(transport, elicitation_callback=nobody) as client:
        rounds = Rounds(client, "twice")
        first = await rounds.first()
        both = {"first#1": YES, "second#1": accept(decision="approved", amount=9)}
        second = await rounds.again(both, first.request_state)
        assert isinstance(second, InputRequiredResult)
        assert list(second.input_requests or {}) == ["second#1"], "only what was asked is answered"
        (view,) = (await here.app.runs.list(_OPEN)).runs
        sent = [("local", "elicitation", "approved")]
        assert await answers_of(here, view.run_id) == sent

        replayed = await rounds.again({"first#1": accept(decision="rejected")}, first.request_state)
        assert isinstance(replayed, InputRequiredResult)
        replayed = await rounds.again({"second#1": accept(decision="approved", amount=9)}, first.request_state)
        assert isinstance(replayed, InputRequiredResult)
        assert await answers_of(here, view.run_id) == sent
        unanswered = await rounds.again({}, second.request_state)
        assert list(unanswered.input_requests) == ["second#1"]
        other = told(await rounds.again({"second#1": ListRootsResult(roots=[])}, second.request_state))
        assert other["next"].startswith("The person at this client was asked about second and did not answer.")
        assert await answers_of(here, view.run_id) == sent
        done = told(await rounds.again({"second#1": accept(decision="approved", amount=1)}, second.request_state))
        assert done["result"] == ["approved", "approved", "1"]
        late = told(await rounds.again({"second#1": accept(decision="rejected")}, second.request_state))
        assert late["result"] == ["approved", "approved", "1"]
        assert len(await answers_of(here, view.run_id)) == 2


@pytest.mark.parametrize("transport", MODERN)
async def test_who_was_slower_hears_who_decided(tmp_path: Path, transport: str) -> None:
    text = ONBOARD.replace("  - id: charge", "  - id: hold\n    signal: {}\n  - id: charge")
    async with (
        place(tmp_path, {"onboard": text}) as here,
        here.client(transport, elicitation_callback=nobody) as client,
    ):
        rounds = Rounds(client, "onboard_customer", **CUSTOMER)
        asked = await rounds.first()
        run_id = await still_waits(here)
        await here.app.runs.signal(
            run_id, "approve", {"decision": "approved"}, actor=None, via="web", person=True, by="web:7"
        )
        run = told(await rounds.again({"approve#1": YES}, asked.request_state))
        assert [wait["name"] for wait in run["waiting_for"]] == ["hold"]
        assert await answers_of(here, run_id) == [("web:7", "web", "approved")]


@pytest.mark.parametrize("transport", MODERN)
async def test_answers_without_a_state_are_for_no_run(tmp_path: Path, transport: str) -> None:
    async with (
        place(tmp_path, {"onboard": ONBOARD}) as here,
        here.client(transport, elicitation_callback=nobody) as client,
    ):
        rounds = Rounds(client, "onboard_customer", **CUSTOMER)
        assert isinstance(await rounds.again({"approve#1": YES}, None), InputRequiredResult)
        await still_waits(here)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_nobody_is_asked_at_a_client_that_cannot(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"onboard": ONBOARD}) as here, here.client(transport) as client:
        run = await call(client, "onboard_customer", **CUSTOMER)
        assert run["next"] == "A person decides: give the user the command, then call get_run with wait_seconds 50."
        no = refused(
            await client.call_tool(
                "signal_run", {"run_id": run["run_id"], "name": "approve", "data": {"decision": "approved"}}
            )
        )
        assert no.startswith('Refused: approval "approve" of')
