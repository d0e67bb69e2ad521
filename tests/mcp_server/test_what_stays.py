"""What a run has done and nothing undoes: an agent must hear of it, for its user believes otherwise that all is as before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.mcp_server.conversations.agent import Agent, Failed
from tests.mcp_server.place import Place, edited, place
from tests.mcp_server.workflows import ended

pytestmark = pytest.mark.anyio

ACCOUNTS = """
name: open_accounts
description: Opens an account and mails everybody, and then finds out that it may not.
on_failure: compensate
vars: {CRM_URL: "http://127.0.0.1:1", MAIL_URL: "http://127.0.0.1:1"}
mcp: {wait: 20s}
defaults: {retry: {max_attempts: 1}}
steps:
  - id: account
    http: {method: POST, url: "${vars.CRM_URL}/accounts", json: {email: a@example.com, plan: pro}}
    compensate: {http: {method: DELETE, url: "${vars.CRM_URL}/accounts/${steps.account.output.id}"}}
  - id: look
    http: {url: "${vars.CRM_URL}/accounts/${steps.account.output.id}"}
  - id: mails
    for_each:
      items: ${["a@example.com", "b@example.com"]}
      as: to
      concurrency: 1
      steps:
        - id: mail
          http: {method: POST, url: "${vars.MAIL_URL}/messages", json: {to: "${to}", template: x, values: {}}}
  - id: handled
    http: {method: POST, url: "${vars.MAIL_URL}/messages", json: {}}
    on_error: [{else: [{set: {id: none}}]}]
  - id: undone_as_one
    switch:
      - else:
          - id: inner
            http: {method: POST, url: "${vars.CRM_URL}/accounts", json: {email: c@example.com, plan: pro}}
    compensate: {http: {method: DELETE, url: "${vars.CRM_URL}/accounts/${steps.undone_as_one.output.id}"}}
  - id: sum
    set: {x: 1}
  - fail: {message: It may not.}
"""
MAILS = ["mails[1].mail", "mails[0].mail"]


async def run_of(here: Place, tool: str = "open_accounts") -> dict[str, Any]:
    async with here.client("in process, 2026") as client:
        answer = await Agent(client).says(tool)
    return answer.shown if isinstance(answer, Failed) else answer


async def test_what_has_no_compensation_is_named_when_the_rest_is_undone(tmp_path: Path, url: str) -> None:
    async with place(tmp_path, {"accounts": ACCOUNTS}, database_url=url) as here:
        failed = await run_of(here)
        assert (failed["compensation"], failed["undone"]) == ("done", ["undone_as_one", "account"])
        assert failed["stays"] == MAILS
        assert "attempts" not in failed["error"], "what only computes makes none"
        assert failed["next"] == (
            "All that has a compensation was undone. What mails[1].mail and mails[0].mail did stays: tell the user. "
            "Start again with other input."
        )


async def test_where_nothing_is_to_be_undone_all_that_was_done_is_named(tmp_path: Path, url: str) -> None:
    text = edited(ACCOUNTS, ("on_failure: compensate", "on_failure: fail"))
    async with place(tmp_path, {"accounts": text}, database_url=url) as here:
        failed = await run_of(here)
        assert failed["stays"] == ["undone_as_one.else.inner", *MAILS, "account"]
        assert failed["next"].startswith(
            "Nothing was undone. What undone_as_one.else.inner, mails[1].mail, mails[0].mail and account did stays: "
        )


async def test_before_a_run_is_cancelled_it_says_what_that_would_leave_and_afterwards_what_it_left(
    tmp_path: Path, url: str
) -> None:
    text = edited(ACCOUNTS, ("on_failure: compensate", "on_failure: pause"))
    async with place(tmp_path, {"accounts": text}, database_url=url) as here:
        paused = await run_of(here)
        assert paused["stays"] == MAILS
        assert paused["next"].endswith(
            "or cancel_run, which undoes undone_as_one and account (what mails[1].mail and mails[0].mail did stays)."
        )
        async with here.client("in process, 2026") as client:
            cancelled = await Agent(client).says("cancel_run", run_id=paused["run_id"])
            cancelled = await ended(client, cancelled)
        assert (cancelled["status"], cancelled["undone"]) == ("cancelled", ["undone_as_one", "account"])
        assert cancelled["next"] == "What mails[1].mail and mails[0].mail did stays: tell the user."


PARENT = """
name: parent
description: Has accounts opened by another workflow, and fails afterwards.
steps:
  - id: accounts
    workflow: {name: open_accounts}
  - fail: {message: It may not.}
"""


async def test_what_a_child_left_is_named_with_its_id(tmp_path: Path, url: str) -> None:
    child = edited(ACCOUNTS, ("  - fail: {message: It may not.}\n", ""))
    async with place(tmp_path, {"parent": PARENT, "child": child}, database_url=url) as here:
        failed = await run_of(here, "parent")
        assert failed["undone"] == ["accounts"]
        started = (await here.app.runs.trace(failed["run_id"], actor=None)).steps[0].decision
        assert started is not None
        async with here.client("in process, 2026") as client:
            told = await Agent(client).says("get_run", run_id=started["parked"]["child"])
        assert failed["stays"] == [f"{mail} of {told['run_id']}" for mail in MAILS]
        assert failed["next"] == (
            f"All that has a compensation was undone. What {' and '.join(failed['stays'])} did stays: tell the user. "
            "Start again with other input."
        )
        assert (told["status"], told["stays"]) == ("compensated", MAILS)
        assert told["next"].endswith("What mails[1].mail and mails[0].mail did stays: tell the user.")


async def test_what_a_failed_child_left_is_named_by_all_runs_above_it(tmp_path: Path, url: str) -> None:
    child = edited(ACCOUNTS, ("on_failure: compensate", "on_failure: fail"))
    above = PARENT.replace("name: parent", "name: above").replace("open_accounts", "parent")
    async with place(tmp_path, {"above": above, "parent": PARENT, "child": child}, database_url=url) as here:
        failed = await run_of(here, "above")
        below = [step.rpartition(" of ") for step in failed["stays"]]
        assert [step for step, _, _ in below] == ["undone_as_one.else.inner", *MAILS, "account"]
        assert len({run_id for _, _, run_id in below}) == 1
        assert failed["next"].startswith(f"Nothing was undone. What {failed['stays'][0]}, ")
        async with here.client("in process, 2026") as client:
            left = await Agent(client).says("get_run", run_id=below[0][2])
        assert (left["status"], left["stays"]) == ("failed", [step for step, _, _ in below])


async def test_of_a_run_whose_children_were_undone_whole_everything_was_undone(tmp_path: Path, url: str) -> None:
    child = "name: open_accounts\ndescription: Does nothing that lasts, for its parent.\nsteps: [{set: {a: 1}}]\n"
    async with place(tmp_path, {"parent": PARENT, "child": child}, database_url=url) as here:
        failed = await run_of(here, "parent")
        assert failed["next"] == "Everything was undone. Start again with other input."
