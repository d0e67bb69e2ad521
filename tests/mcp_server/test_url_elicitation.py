"""Clients that show no forms but open addresses: their person is led to the page, and what they decide there counts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from mcp.client.context import ClientRequestContext
from mcp_types import ElicitRequestURLParams, ElicitResult

from mcp_workflows.mcp_server.tools import follower
from tests.mcp_server.actors import Actors
from tests.mcp_server.onboarding import CUSTOMER, ONBOARD, call
from tests.mcp_server.place import LEGACY, MODERN, TRANSPORTS, place, told
from tests.mcp_server.rounds import Rounds, answers_of, nobody
from tests.mcp_server.task_client import TaskClient, TasksExtension
from tests.web.place import Desk, decide, desk, heading, visitor

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("urls_alone")]


@pytest.fixture
def urls_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The official client declares both modes; here it says that it has no forms."""
    monkeypatch.setattr("mcp.client.session.types.FormElicitationCapability", lambda: None)


class Browsing:
    """A client whose person agrees to open what they are shown, or not, and then decides there, if they do."""

    def __init__(self, action: Any = "accept", decision: str | None = "approved") -> None:
        self.opened: list[ElicitRequestURLParams] = []
        self.completed: asyncio.Queue[str] = asyncio.Queue()
        self._action = action
        self._decision = decision
        self._deciding: list[asyncio.Task[Any]] = []

    async def __call__(self, _context: ClientRequestContext, params: Any) -> ElicitResult:
        assert isinstance(params, ElicitRequestURLParams), params
        self.opened.append(params)
        if self._action == "accept" and self._decision is not None:
            self._deciding.append(asyncio.create_task(self.decide(params.url, self._decision)))
        return ElicitResult(action=self._action)

    async def decide(self, url: str, decision: str) -> None:
        async with visitor() as browser:
            assert heading(await decide(browser, url, decision=decision)) == decision.capitalize()

    async def hear(self, message: Any) -> None:
        """Everything that comes unasked."""
        if getattr(message, "method", "") == "notifications/elicitation/complete":
            self.completed.put_nowait(message.params.elicitation_id)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_person_is_led_to_the_page_and_the_call_has_the_result(tmp_path: Path, transport: str) -> None:
    anna = Browsing()
    async with (
        desk(tmp_path, text=ONBOARD) as at,
        at.here.client(transport, elicitation_callback=anna, message_handler=anna.hear) as client,
    ):
        run = await call(client, "onboard_customer", **CUSTOMER)
        assert run == {
            "run_id": run["run_id"],
            "status": "completed",
            "result": {"account_id": "a_1", "charge_id": "c_1", "approved_by": "web:local"},
        }
        (asked,) = anna.opened
        assert asked.url == at.links.url(run["run_id"], "approve#1")
        assert asked.message.startswith("Enterprise plan for buyer@example.com?\n\nonboard_customer, r_")
        assert await answers_of(at.here, run["run_id"]) == [("web:local", "web", "approved")]
        if transport in LEGACY:
            async with asyncio.timeout(20):
                assert await anna.completed.get() == asked.elicitation_id
            assert at.here.server.following == 0, "it is told once"
        else:
            assert asked.elicitation_id is None, "the new era has no names for them"


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(("action", "said"), [("decline", "declined to answer"), ("cancel", "did not answer")])
async def test_who_does_not_open_it_has_decided_nothing(tmp_path: Path, transport: str, action: Any, said: str) -> None:
    anna = Browsing(action)
    async with (
        desk(tmp_path, text=ONBOARD) as at,
        at.here.client(transport, elicitation_callback=anna) as client,
    ):
        run = await call(client, "onboard_customer", **CUSTOMER)
        assert (run["status"], run["waiting_for"][0]["url"]) == ("waiting", anna.opened[0].url)
        assert run["next"] == (
            f"The person at this client was asked about approve and {said}. "
            "A person decides: give the user the url, then call get_run with wait_seconds 50."
        )
        assert await answers_of(at.here, run["run_id"]) == []


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_who_opened_it_is_not_asked_to_open_it_again_and_the_decision_is_told_later(
    tmp_path: Path, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "LONGEST_WAIT", 1)
    anna = Browsing(decision=None)
    async with (
        desk(tmp_path, text=ONBOARD) as at,
        at.here.client(transport, elicitation_callback=anna, message_handler=anna.hear) as client,
    ):
        async with asyncio.timeout(20):
            run = await call(client, "onboard_customer", **CUSTOMER)
        assert run["next"] == (
            "The person at this client opened the page for approve and has not decided yet. "
            "A person decides: give the user the url, then call get_run with wait_seconds 50."
        )
        waited = await call(client, "get_run", run_id=run["run_id"], wait_seconds=1)
        assert (waited["status"], len(anna.opened)) == ("waiting", 1)
        await anna.decide(anna.opened[0].url, "approved")
        done = await call(client, "get_run", run_id=run["run_id"], wait_seconds=20)
        assert done["result"]["approved_by"] == "web:local"
        if transport in LEGACY:
            async with asyncio.timeout(20):
                assert await anna.completed.get() == anna.opened[0].elicitation_id


@pytest.mark.parametrize("transport", MODERN)
async def test_that_it_was_opened_is_no_decision_whatever_the_client_says_with_it(
    tmp_path: Path, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "LONGEST_WAIT", 1)
    async with (
        desk(tmp_path, text=ONBOARD) as at,
        at.here.client(transport, elicitation_callback=nobody) as client,
    ):
        rounds = Rounds(client, "onboard_customer", **CUSTOMER)
        asked = await rounds.first()
        assert [one.params.mode for one in (asked.input_requests or {}).values()] == ["url"]  # type: ignore[union-attr]
        claim = ElicitResult(action="accept", content={"decision": "approved"})
        run = told(await rounds.again({"approve#1": claim}, asked.request_state))
        assert run["status"] == "waiting"
        assert await answers_of(at.here, run["run_id"]) == []


async def test_a_client_without_forms_is_asked_nothing_where_no_page_is_served(tmp_path: Path) -> None:
    for transport in TRANSPORTS:
        folder = tmp_path / transport
        folder.mkdir()
        async with (
            place(folder, {"onboard": ONBOARD}) as here,
            here.client(transport, elicitation_callback=nobody) as client,
        ):
            run = await call(client, "onboard_customer", **CUSTOMER)
            assert "command" in run["waiting_for"][0]


async def test_only_whoever_may_decide_on_the_page_is_led_there(tmp_path: Path) -> None:
    for approvers, led in (('["local"]', False), ('["web:local"]', True)):
        folder = tmp_path / str(led)
        folder.mkdir()
        anna = Browsing()
        text = ONBOARD.replace("timeout: 3d", f"approvers: {approvers}")
        async with (
            desk(folder, text=text) as at,
            at.here.client("in process, 2026", elicitation_callback=anna) as client,
        ):
            run = await call(client, "onboard_customer", **CUSTOMER)
            assert (len(anna.opened), run["status"]) == ((1, "completed") if led else (0, "waiting"))


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_whose_token_it_is_decides_on_the_page_and_not_the_agent(tmp_path: Path, mode: Any) -> None:
    actors = Actors(tmp_path, {"bot": ("workflows:run",), "ada": ("workflows:approve",)})

    class Ada(Browsing):
        async def decide(self, url: str, decision: str) -> None:
            async with visitor() as browser:
                await browser.post(url, data={"action": "login", "token": actors.tokens["bot"]})
                assert heading(await browser.get(url)) == "You may not decide this"
                await browser.post(url, data={"action": "logout"})
                await browser.post(url, data={"action": "login", "token": actors.tokens["ada"]})
                assert heading(await decide(browser, url, decision=decision)) == decision.capitalize()

    ada = Ada()
    async with (
        desk(tmp_path, text=ONBOARD, actors=actors) as at,
        actors.client(f"{at.base}/mcp", "bot", mode, elicitation_callback=ada) as client,
    ):
        run = await call(client, "onboard_customer", **CUSTOMER)
        assert run["result"]["approved_by"] == "ada"


async def task_at(at: Desk, client: TaskClient) -> tuple[str, str, dict[str, Any]]:
    task_id = (await client.call("onboard_customer", **CUSTOMER))["taskId"]
    asked = await client.until(task_id, "input_required")
    ((key, request),) = asked["inputRequests"].items()
    return task_id, key, request


@pytest.mark.parametrize("transport", MODERN)
async def test_a_task_leads_to_the_page_and_goes_on_when_it_was_decided_there(tmp_path: Path, transport: str) -> None:
    extension = TasksExtension()
    async with (
        desk(tmp_path, text=ONBOARD) as at,
        at.here.client(transport, extensions=[extension], elicitation_callback=nobody) as client,
    ):
        tasks = TaskClient(client, extension)
        task_id, key, request = await task_at(at, tasks)
        assert request == {
            "method": "elicitation/create",
            "params": {
                "mode": "url",
                "message": request["params"]["message"],
                "url": at.links.url(task_id, "approve#1"),
            },
        }
        claim = {"action": "accept", "content": {"decision": "approved"}}
        for name in (key, "approve#1"):
            await tasks.update(task_id, **{name: claim})
        assert list((await tasks.get(task_id))["inputRequests"]) == [key], "to open it decides nothing"
        await Browsing().decide(request["params"]["url"], "approved")
        done = await tasks.until(task_id, "completed")
        assert done["result"]["structuredContent"]["result"]["approved_by"] == "web:local"


async def test_another_address_is_another_request(tmp_path: Path) -> None:
    """As the official client has it: the same key with another request ends the task for it."""
    extension = TasksExtension()
    keys: dict[str, str] = {}
    task_id = ""
    for run in ("first", "second"):
        async with (
            desk(tmp_path, text=ONBOARD, base=f"http://127.0.0.1/{run}") as at,
            at.here.client("in process, 2026", extensions=[extension], elicitation_callback=nobody) as client,
        ):
            tasks = TaskClient(client, extension)
            task_id = task_id or (await tasks.call("onboard_customer", **CUSTOMER))["taskId"]
            ((key, request),) = (await tasks.until(task_id, "input_required"))["inputRequests"].items()
            keys[key] = request["params"]["url"]
    assert [url.partition("/a/")[0] for url in keys.values()] == ["http://127.0.0.1/first", "http://127.0.0.1/second"]


async def test_only_approvals_have_a_page(tmp_path: Path) -> None:
    text = ONBOARD.replace(
        "approval:\n      message: Enterprise plan for ${input.email}?\n      timeout: 3d", "signal: {}"
    )
    text = text.replace("steps.approve.?output.?by", "steps.approve.?output.?nothing")
    extension = TasksExtension()
    async with (
        desk(tmp_path, text=text) as at,
        at.here.client("in process, 2026", extensions=[extension], elicitation_callback=nobody) as client,
    ):
        tasks = TaskClient(client, extension)
        task_id = (await tasks.call("onboard_customer", **CUSTOMER))["taskId"]
        await at.here.app.runs.wait(task_id, actor="local", seconds=20, known=())
        assert (await tasks.get(task_id))["status"] == "working"
