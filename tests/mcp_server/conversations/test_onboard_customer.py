"""A run that asks a person: the agent passes the question on, may not answer it, and hears what came of it."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests.mcp_server.conversations.agent import INSTANT, RUN_ID, Agent, Failed, Like
from tests.mcp_server.onboarding import CUSTOMER, ONBOARD, type_in
from tests.mcp_server.place import TRANSPORTS, place
from tests.web.place import decide, desk, heading, visitor

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("transport", TRANSPORTS)]

FORM = {
    "type": "object",
    "required": ["decision"],
    "properties": {"decision": {"type": "string", "enum": ["approved", "rejected"]}, "note": {"type": "string"}},
}


async def test_the_person_decides_on_the_page(tmp_path: Path, transport: str) -> None:
    async with desk(tmp_path, text=ONBOARD) as at, at.here.client(transport) as client, visitor() as browser:
        agent = Agent(client)

        waiting = await agent.says("onboard_customer", **CUSTOMER)
        run_id, url = waiting["run_id"], waiting["waiting_for"][0]["url"]
        assert waiting == {
            "run_id": RUN_ID,
            "status": "waiting",
            "waiting_for": [
                {
                    "kind": "approval",
                    "name": "approve",
                    "message": "Enterprise plan for buyer@example.com?",
                    "by": "person",
                    "schema": FORM,
                    "expires_at": INSTANT,
                    "url": Like(rf"{re.escape(at.base)}/a/[\w.-]+"),
                }
            ],
            "next": "A person decides: give the user the url, then call get_run with wait_seconds 50.",
        }

        assert await agent.says("signal_run", run_id=run_id, name="approve", data={"decision": "approved"}) == Failed(
            Like(
                rf'Refused: approval "approve" of {run_id} must be decided by a person\. Give the user {re.escape(url)} '
                r"\(valid until \d\d \w{3} \d\d:\d\d UTC\), then call get_run with wait_seconds 50\."
            )
        )

        assert await agent.says("resume_run", run_id=run_id) == Failed(
            f"{run_id} waits for an answer: nothing to resume. get_run says for which, and who may give it."
        )

        asking = asyncio.create_task(agent.says("get_run", run_id=run_id, wait_seconds=50))
        assert heading(await decide(browser, url, decision="approved")) == "Approved"
        assert await asking == {
            "run_id": run_id,
            "workflow": "onboard_customer",
            "version": 1,
            "status": "completed",
            "result": {"account_id": "a_1", "charge_id": "c_1", "approved_by": "web:local"},
        }
        late = await agent.says("signal_run", run_id=run_id, name="approve", data={"decision": "rejected"})
        assert late == Failed(Like(r"approve was answered by web:local at \d\d:\d\d UTC \(approved\)\."))
        assert agent.tokens <= 301


async def test_the_person_decides_at_the_terminal_where_no_page_is_served(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"onboard": ONBOARD}) as here, here.client(transport) as client:
        agent = Agent(client)

        waiting = await agent.says("onboard_customer", **CUSTOMER)
        run_id = waiting["run_id"]
        command = f"mcp-workflows signal {run_id} approve --database {here.app.settings.database_file}"
        assert waiting == {
            "run_id": RUN_ID,
            "status": "waiting",
            "waiting_for": [
                {
                    "kind": "approval",
                    "name": "approve",
                    "message": "Enterprise plan for buyer@example.com?",
                    "by": "person",
                    "schema": FORM,
                    "expires_at": INSTANT,
                    "command": command,
                }
            ],
            "next": "A person decides: give the user the command, then call get_run with wait_seconds 50.",
        }

        assert await agent.says("signal_run", run_id=run_id, name="approve", data={"decision": "approved"}) == Failed(
            Like(
                rf'Refused: approval "approve" of {run_id} must be decided by a person\. Give the user this command for '
                rf"their terminal \(valid until \d\d \w{{3}} \d\d:\d\d UTC\): {re.escape(command)} "
                r"Then call get_run with wait_seconds 50\."
            )
        )

        asking = asyncio.create_task(agent.says("get_run", run_id=run_id, wait_seconds=50))
        await type_in(command, "--approve", "--as", "cli:anna")
        assert await asking == {
            "run_id": run_id,
            "workflow": "onboard_customer",
            "version": 1,
            "status": "completed",
            "result": {"account_id": "a_1", "charge_id": "c_1", "approved_by": "cli:anna"},
        }
        late = await agent.says("signal_run", run_id=run_id, name="approve")
        assert late == Failed(Like(r"approve was answered by cli:anna at \d\d:\d\d UTC \(approved\)\."))
