"""``by: person``: every way by which an approval can be answered, or got round, and which of them an agent has."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp_types import ElicitResult, TextResourceContents

from mcp_workflows.runtime.views import RunQuery
from tests.mcp_server.onboarding import call, type_in
from tests.mcp_server.place import Place, refused, told
from tests.mcp_server.rounds import Rounds, nobody
from tests.mcp_server.task_client import TaskClient, TasksExtension, Update, UpdateTask, ask
from tests.web.place import Desk, decide, desk, visitor

pytestmark = pytest.mark.anyio

ASKING = """
name: pay
description: Asks before it pays.
mcp: {wait: 20s}
steps:
  - id: approve
    approval: {message: "Pay?", by: BY}
output: ${steps.approve.output}
"""
YES = {"decision": "approved"}


@dataclass
class Way:
    """``answers`` has the approval of a run answered, and says whether that was taken."""

    via: str
    actor: str
    a_person_is_known: bool
    answers: Callable[[Desk, str], Awaitable[bool]]


async def taken(here: Place, run_id: str) -> bool:
    return (await here.app.runs.get(run_id, actor=None)).status == "completed"


def by_agent(era: str) -> Callable[[Desk, str], Awaitable[bool]]:
    async def answers(at: Desk, run_id: str) -> bool:
        async with at.here.client(f"http, {era}") as client:
            result = await client.call_tool("signal_run", {"run_id": run_id, "name": "approve", "data": YES})
        return not result.is_error

    return answers


async def by_form(at: Desk, run_id: str, era: str) -> bool:
    async def accept(_context: Any, _params: Any) -> ElicitResult:
        return ElicitResult(action="accept", content={**YES})

    async with at.here.client(f"http, {era}", elicitation_callback=accept) as client:
        run = await call(client, "get_run", run_id=run_id, wait_seconds=1)
    return run["status"] == "completed"


async def by_task(at: Desk, run_id: str) -> bool:
    extension = TasksExtension()
    async with at.here.client("http, 2026", extensions=[extension], elicitation_callback=nobody) as client:
        await TaskClient(client, extension).update(run_id, **{"approve#1": YES})
    return await taken(at.here, run_id)


async def by_page(at: Desk, run_id: str) -> bool:
    async with visitor() as browser:
        return (await decide(browser, at.links.url(run_id, "approve#1"), **YES)).status_code == 200


async def at_terminal(at: Desk, run_id: str) -> bool:
    database = at.here.app.settings.database_file
    await type_in(f"mcp-workflows signal {run_id} approve --database {database}", "--approve", "--as", "cli:anna")
    return await taken(at.here, run_id)


WAYS = {
    "an agent, 2026": Way("mcp", "local", False, by_agent("2026")),
    "an agent, 2025": Way("mcp", "local", False, by_agent("2025")),
    "a form while a call waits": Way("elicitation", "local", True, lambda at, run_id: by_form(at, run_id, "2025")),
    "a form in a result": Way("elicitation", "local", True, lambda at, run_id: by_form(at, run_id, "2026")),
    "a form of a task": Way("task", "local", True, by_task),
    "the page": Way("web", "web:local", True, by_page),
    "the terminal": Way("cli", "cli:anna", True, at_terminal),
}


@pytest.mark.parametrize(
    ("name", "by"),
    [(name, "person") for name in WAYS]
    # What agents may answer themselves is not put before the person at their client.
    + [(name, "anyone") for name, way in WAYS.items() if way.via != "elicitation"],
)
async def test_who_may_answer_by_which_way_and_that_it_is_recorded(tmp_path: Path, name: str, by: str) -> None:
    way = WAYS[name]
    async with desk(tmp_path, text=ASKING.replace("BY", by)) as at:
        view = await at.here.app.runs.start("pay", {}, actor="local")
        await at.here.app.runs.wait(view.run_id, actor=None, seconds=20, known=())
        expected = way.a_person_is_known or by == "anyone"
        assert await way.answers(at, view.run_id) is expected
        trace = await at.here.app.runs.trace(view.run_id, actor=None)
        if not expected:
            assert (trace.run.status, trace.messages) == ("waiting", [])
            return
        (message,) = trace.messages
        assert (message.kind, message.actor, message.body["via"]) == ("answer", way.actor, way.via)
        ended = await at.here.app.runs.wait(view.run_id, actor=None, seconds=20)
        assert (ended.result["by"], ended.result["via"]) == (way.actor, way.via)
        assert await told_everywhere(at, view.run_id) == {
            "get_run": (way.actor, way.via),
            "trace": (way.actor, way.via),
            "resource": (way.actor, way.via),
            "show": SHOWN[way.via],
            "page": (way.actor, DECIDED[way.via]),
        }


SHOWN = {
    "mcp": "approved by local through mcp",
    "elicitation": "approved by local through elicitation",
    "task": "approved by local through task",
    "web": "approved by web:local",
    "cli": "approved by cli:anna",
}
DECIDED = {
    "mcp": "through an agent",
    "elicitation": "in a form of their client",
    "task": "in a form of their client",
    "web": "on this page",
    "cli": "at the terminal",
}


async def told_everywhere(at: Desk, run_id: str) -> dict[str, Any]:
    """Who answered and through what, as each surface has it."""
    async with at.here.client("http, 2026") as client:
        output = (await call(client, "get_run", run_id=run_id, select="steps.approve.output"))["selected"]
        traced = (await call(client, "get_run", run_id=run_id, select="trace"))["selected"]
        (document,) = (await client.read_resource(f"run://{run_id}")).contents
    assert isinstance(document, TextResourceContents)
    read = json.loads(document.text)
    shown = await type_in(f"mcp-workflows show {run_id} --database {at.here.app.settings.database_file}")
    (line,) = (one for one in shown.splitlines() if "approved by" in one)
    async with visitor() as browser:
        page = (await browser.get(at.links.url(run_id, "approve#1"))).text
    ((by, through),) = re.findall(r"(\S+) approved this on .*? UTC, (.*?)\.", re.sub("<.*?>", "", page))
    return {
        "get_run": (output["by"], output["via"]),
        "trace": (traced["messages"][0]["actor"], traced["messages"][0]["body"]["via"]),
        "resource": (read["messages"][0]["actor"], read["messages"][0]["body"]["via"]),
        "show": line[line.index("approved by") :].strip(),
        "page": (by, through),
    }


# What an agent may try instead


async def test_a_client_that_cannot_ask_anybody_cannot_answer_by_a_task_either(tmp_path: Path) -> None:
    async with desk(tmp_path, text=ASKING.replace("BY", "person")) as at:
        extension = TasksExtension()
        async with at.here.client("http, 2026", extensions=[extension]) as client:
            tasks = TaskClient(client, extension)
            task_id = (await tasks.call("pay"))["taskId"]
            await at.here.app.runs.wait(task_id, actor="local", seconds=20, known=())
            for key in ("approve#1", "approve#1~2"):
                await tasks.update(task_id, **{key: YES})
            assert (await tasks.get(task_id))["status"] == "working"
        assert (await at.here.app.runs.trace(task_id, actor=None)).messages == []


async def test_answers_that_come_with_a_first_call_are_answers_to_nothing(tmp_path: Path) -> None:
    async with desk(tmp_path, text=ASKING.replace("BY", "person")) as at:
        async with at.here.client("http, 2026", elicitation_callback=nobody) as client:
            await Rounds(client, "pay").again({"approve#1": ElicitResult(action="accept", content={**YES})}, None)
        (view,) = (await at.here.app.runs.list(RunQuery())).runs
        assert (await at.here.app.runs.trace(view.run_id, actor=None)).messages == []


UNANSWERED = ASKING.replace("BY", "person").replace("mcp:", "on_failure: pause\nmcp:")
IN_A_CHILD = """
name: family
description: Has somebody else ask.
on_failure: pause
mcp: {wait: 20s}
steps:
  - id: paid
    workflow: {name: pay, input: {}}
output: ${steps.paid.output}
"""
CHILD = ASKING.replace("BY", "person").replace("mcp:", "on_failure: fail\nmcp:")


async def paused(client: Client, at: Desk, workflow: str, *, reject: bool) -> str:
    """A run that stands still for want of an approval: it was rejected, or nobody gave it in time."""
    run_id = (await call(client, workflow))["run_id"]
    if reject:
        async with asyncio.timeout(20):
            while not (asked := (await at.here.app.runs.list(RunQuery(status="needs_input"))).runs):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        asking = asked[0].run_id
        answer = {"decision": "rejected"}
        await at.here.app.runs.signal(asking, "approve", answer, actor=None, via="cli", person=True, by="cli:anna")
    run = await call(client, "get_run", run_id=run_id, wait_seconds=20)
    while run["status"] != "paused":
        run = await call(client, "get_run", run_id=run_id, wait_seconds=20)
    assert run["next"].startswith("resume_run asks again"), run["next"]
    return run_id


@pytest.mark.parametrize("reject", [True, False], ids=["rejected", "not answered in time"])
@pytest.mark.parametrize("nested", [False, True], ids=["its own", "a child's"])
async def test_an_agent_can_neither_make_up_an_approval_nor_leave_it_out(
    tmp_path: Path, reject: bool, nested: bool
) -> None:
    late = '"Pay?"' if reject else '"Pay?", timeout: 20ms'
    text = (CHILD if nested else UNANSWERED).replace('"Pay?"', late)
    async with desk(tmp_path, text=text) as at, at.here.client("http, 2026") as client:
        workflow, step = ("family", "paid") if nested else ("pay", "approve")
        if nested:
            at.here.define("family", IN_A_CHILD)
            await at.here.app.catalog.load()
        run_id = await paused(client, at, workflow, reject=reject)
        forged: list[dict[str, Any]] = [
            {"output": {"decision": "approved", "by": "web:7"}},
            {"output": None},
            {"skip": True},
        ]
        for correction in forged:
            said = refused(await client.call_tool("resume_run", {"run_id": run_id, **correction}))
            assert re.fullmatch(
                rf"{run_id} was not resumed: {step} waited for a person's decision, and (output|skip) would stand for it\. "
                r"resume_run without a correction asks again; only a person may resume it otherwise\.",
                said,
            )
        assert (await call(client, "get_run", run_id=run_id))["status"] == "paused"

        person = TasksExtension()
        async with at.here.client("http, 2026", extensions=[person], elicitation_callback=nobody) as there:
            output = {"choice": "output", "output": '{"decision": "approved"}'}
            await ask(
                there.session,
                UpdateTask(
                    params=Update(
                        task_id=run_id, input_responses={"#paused-1": {"action": "accept", "content": output}}
                    )
                ),
            )
        done = await call(client, "get_run", run_id=run_id, wait_seconds=20)
        assert (done["status"], done["result"]) == ("completed", {"decision": "approved"})


async def test_resuming_asks_the_person_again(tmp_path: Path) -> None:
    async with desk(tmp_path, text=UNANSWERED) as at, at.here.client("http, 2026") as client:
        run_id = await paused(client, at, "pay", reject=True)
        again = told(await client.call_tool("resume_run", {"run_id": run_id}))
        assert (again["status"], again["waiting_for"][0]["name"]) == ("waiting", "approve")
        assert again["waiting_for"][0]["url"] == at.links.url(run_id, "approve#2")
