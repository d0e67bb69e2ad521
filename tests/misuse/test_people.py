"""Answers and signals of the wrong shape, to the wrong wait, too early, twice and too late. None of them changes anything."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from mcp_workflows.clock import new_id
from tests.mcp_server.place import refused, told
from tests.misuse.place import Server

pytestmark = pytest.mark.anyio

FITS = {"decision": "approved", "form": {"hours": 2}}


async def asked(server: Server, workflow: str = "open_question") -> str:
    """A run of its own that waits for its first answer."""
    run = told(await server.call(workflow, _idempotency_key=new_id("k_")))
    assert [wait["name"] for wait in run["waiting_for"]] == ["agree"]
    return str(run["run_id"])


async def still_asks(server: Server, run_id: str, *names: str) -> None:
    run = await server.run("get_run", run_id=run_id)
    assert (run["status"], [wait["name"] for wait in run["waiting_for"]]) == ("waiting", list(names))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "decision: is missing. form.hours: is missing."),
        ({"decision": "yes", "form": {"hours": 1}}, 'decision: "yes" is not one of approved, rejected.'),
        ({"decision": "approved"}, "form.hours: is missing."),
        ({"decision": "approved", "form": {"hours": 0}}, "form.hours: 0 is too small, expected at least 1."),
        ({"decision": "approved", "form": {"hours": "2"}}, 'form.hours: "2" is a string, expected integer.'),
        ({"decision": "approved", "form": {"hours": 1, "by": "me"}}, "form.by: is not known."),
        ({**FITS, "by": "cli:boss"}, "by: is not known."),
    ],
)
async def test_an_answer_that_does_not_fit_is_refused_and_can_be_given_again(
    server: Server, data: Any, said: str
) -> None:
    run_id = await asked(server)
    refusal = await server.refused("signal_run", run_id=run_id, name="agree", data=data)
    assert refusal == f"data refused: {said} The run still waits."
    await still_asks(server, run_id, "agree")
    assert told(await server.call("signal_run", run_id=run_id, name="agree", data=FITS))["status"] == "waiting"
    await still_asks(server, run_id, "payment")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("approved", '"approved" is a string, expected object.'),
        (None, "is null, expected object."),
        ([FITS], "[…] is an array, expected object."),
    ],
)
async def test_an_answer_that_is_no_object_never_reaches_the_run(server: Server, data: Any, said: str) -> None:
    run_id = await asked(server)
    refusal = await server.refused("signal_run", run_id=run_id, name="agree", data=data)
    assert refusal == f"Arguments refused, nothing was changed. data: {said}"
    await still_asks(server, run_id, "agree")


async def test_an_answer_counts_once_and_says_whose_it_was(server: Server) -> None:
    run_id = await asked(server)
    await server.run("signal_run", run_id=run_id, name="agree", data=FITS)
    for data in (FITS, {"decision": "rejected"}):
        said = await server.refused("signal_run", run_id=run_id, name="agree", data=data)
        assert re.fullmatch(r"agree was answered by local at \d\d:\d\d UTC \(approved\)\.", said)
    await still_asks(server, run_id, "payment")


async def test_of_many_answers_at_once_one_counts(server: Server) -> None:
    run_id = await asked(server)
    sent = [server.call("signal_run", run_id=run_id, name="agree", data={**FITS, "note": str(n)}) for n in range(8)]
    answers = await asyncio.gather(*sent)
    assert sum(not answer.is_error for answer in answers) == 1
    await still_asks(server, run_id, "payment")
    trace = told(await server.call("get_run", run_id=run_id, select="trace"))["selected"]
    assert [message["kind"] for message in trace["messages"]] == ["answer"]


async def test_an_agent_does_not_decide_for_a_person(server: Server) -> None:
    run_id = await asked(server, "people")
    said = await server.refused("signal_run", run_id=run_id, name="agree", data=FITS)
    page = f"{server.base}/a/{run_id}."
    assert said.startswith(f'Refused: approval "agree" of {run_id} must be decided by a person. Give the user {page}')
    await still_asks(server, run_id, "agree")


async def test_the_person_s_own_mistakes_are_told_in_the_terminal(server: Server) -> None:
    run_id = await asked(server, "people")
    for given, said in [
        (["--approve", "--form", '{"hours": "many"}'], 'form.hours: "many" is a string, expected integer.'),
        (["--approve"], "form.hours: is missing. The run still waits."),
        (["--data", "{"], "--data is no JSON"),
    ]:  # fmt: skip
        told_there = await asyncio.to_thread(server.cli, "signal", run_id, "agree", *given)
        assert (told_there.returncode, said in told_there.stderr) == (2, True), told_there.stderr
    await still_asks(server, run_id, "agree")


async def test_only_approvers_answer(server: Server) -> None:
    run_id = await asked(server, "people")
    done = await asyncio.to_thread(server.cli, "signal", run_id, "agree", "--approve", "--form", '{"hours": 2}')
    assert done.returncode == 0, done.stderr
    await still_asks(server, run_id, "anna")
    said = await server.refused("signal_run", run_id=run_id, name="anna", data={"decision": "approved"})
    assert said == f'Refused: approval "anna" of {run_id} is answered by web:anna, not by local. The run still waits.'
    there = await asyncio.to_thread(server.cli, "signal", run_id, "anna", "--approve")
    assert there.returncode == 2
    assert "is answered by web:anna, not by cli:" in there.stderr
    await still_asks(server, run_id, "anna")


async def test_what_the_run_does_not_wait_for_is_refused_with_what_it_does(server: Server) -> None:
    run_id = await asked(server, "people")
    for name, said in [
        ("agre", f'{run_id} does not wait for "agre". It waits for: agree. It takes in advance: payment.'),
        ("paid", f'{run_id} does not wait for "paid". It waits for: agree. It takes in advance: payment.'),
        ("anna", (
            f'{run_id} does not wait for "anna" yet: an approval can be answered once it is asked. It waits for: agree. '
            "It takes in advance: payment."
        )),
    ]:  # fmt: skip
        assert await server.refused("signal_run", run_id=run_id, name=name, data={"decision": "approved"}) == said
    await still_asks(server, run_id, "agree")


async def test_an_early_signal_is_held_against_its_schema_and_kept(server: Server) -> None:
    run_id = await asked(server)
    said = await server.refused("signal_run", run_id=run_id, name="payment", data={"amount": "much"})
    assert said == 'data refused: amount: "much" is a string, expected number. Nothing was changed.'
    await server.run("signal_run", run_id=run_id, name="payment", data={"amount": 1})
    await still_asks(server, run_id, "agree")
    run = await server.run("signal_run", run_id=run_id, name="agree", data=FITS)
    assert (run["status"], run["result"]) == ("completed", {"amount": 1})


async def test_a_run_keeps_signals_to_a_bound_and_goes_on_with_those_that_it_has(server: Server) -> None:
    run_id = await asked(server, "hoarder")
    taken = 0
    async with server.client() as client:
        while not (answer := await client.call_tool("signal_run", _signal(run_id, "x" * 1_000_000))).is_error:
            taken += 1
        assert taken == 17
        assert refused(answer) == (
            f"{run_id} has 17 messages that it has not come to yet, and takes no more in advance. "
            "Nothing was changed: send it again when the run has gone on."
        )
    run = await server.run("signal_run", run_id=run_id, name="agree", data={"decision": "approved"})
    assert (run["status"], run["result"]) == ("completed", {"size": 1_000_000})


def _signal(run_id: str, text: str) -> dict[str, Any]:
    return {"run_id": run_id, "name": "news", "data": {"text": text}}


async def test_nothing_is_taken_after_the_end(server: Server) -> None:
    run_id = await asked(server)
    await server.run("signal_run", run_id=run_id, name="agree", data=FITS)
    run = await server.run("signal_run", run_id=run_id, name="payment", data={"amount": 2})
    assert run["result"] == {"amount": 2}
    said = await server.refused("signal_run", run_id=run_id, name="payment", data={"amount": 3})
    assert said == f'{run_id} is completed: it takes no "payment" any more.'
    assert "was answered by local" in await server.refused("signal_run", run_id=run_id, name="agree", data=FITS)
    assert (await server.run("get_run", run_id=run_id))["result"] == {"amount": 2}


async def test_a_signal_that_comes_too_late_is_refused(server: Server) -> None:
    run = await server.run("impatient")
    assert (run["status"], run["error"]["code"]) == ("failed", "timeout")
    assert run["error"]["message"] == 'the signal "payment" did not come in time'
    said = await server.refused("signal_run", run_id=run["run_id"], name="payment", data={})
    assert said == f'{run["run_id"]} is failed: it takes no "payment" any more.'


async def test_a_run_that_is_not_there_takes_nothing(server: Server) -> None:
    said = await server.refused("signal_run", run_id="r_nosuchrun0000000000000000", name="payment", data={})
    assert said.startswith("No run r_nosuchrun0000000000000000 that you may see.")
