"""A run that waits because a service is down: an agent can tell its user so long before the last attempt."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcp_workflows.samples.faults import Fault
from tests.mcp_server.conversations.agent import RUN_ID, Agent, Like
from tests.mcp_server.place import place

pytestmark = pytest.mark.anyio

WAITING = """
name: open_account
description: Opens an account, however long that takes.
vars: {CRM_URL: "http://127.0.0.1:1"}
mcp: {wait: 20s}
steps:
  - id: both
    parallel:
      one:
        - id: account
          http: {method: POST, url: "${vars.CRM_URL}/accounts", json: {email: a@example.com, plan: pro}}
          retry: {delay: 1h, max_delay: 1h, jitter: false}
      other:
        - id: later
          wait: 2h
"""


async def test_what_is_tried_again_is_told_with_why_the_last_attempt_failed(tmp_path: Path, url: str) -> None:
    async with place(tmp_path, {"account": WAITING}, database_url=url) as here, here.client("http, 2026") as client:
        here.world.faults.add(Fault("crm", "POST", "/accounts", "answer", times=None, status=503))
        agent = Agent(client)
        run_id = (await agent.says("open_account"))["run_id"]
        while "retrying" not in (told := await agent.says("get_run", run_id=run_id, wait_seconds=1))["progress"]:
            pass
        assert told == {
            "run_id": RUN_ID,
            "workflow": "open_account",
            "version": 1,
            "status": "waiting",
            "progress": {
                "completed": 0,
                "running": ["both.one.account", "both.other.later"],
                "retrying": [{"step": "both.one.account", "error": "POST /accounts answered 503"}],
            },
            "next": Like(
                r"It goes on by itself at \S+ \(in (59 min|1 h)\)\. Call get_run then; nobody has to answer\."
            ),
        }
