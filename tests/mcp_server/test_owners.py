"""Whose runs are whose: a run of somebody else is as if it were not there, whatever is asked of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from tests.mcp_server.actors import ERAS, Actors
from tests.mcp_server.onboarding import CUSTOMER, ONBOARD
from tests.mcp_server.place import Place, place, refused, told

pytestmark = pytest.mark.anyio

PARENT = """
name: parent
description: Starts a child that asks.
mcp: {wait: 10ms}
steps:
  - id: inner
    workflow: {name: child}
"""
CHILD = """
name: child
description: Asks anybody.
mcp: {wait: 20s}
steps:
  - id: ask
    approval: {message: "Well?", by: anyone}
"""
DEFINITIONS = {"onboard": ONBOARD.replace("timeout: 3d", "by: anyone"), "parent": PARENT, "child": CHILD}
NOT_THERE = "r_" + "0" * 26
SCOPES = {"anna": ("workflows:run",), "eve": ("workflows:run",), "boss": ("workflows:operate",)}

ASKING: list[tuple[str, dict[str, Any]]] = [
    ("get_run", {}),
    ("get_run", {"wait_seconds": 1}),
    *(("get_run", {"select": part}) for part in ("result", "input", "error", "steps", "steps.account.output", "trace")),
    ("signal_run", {"name": "approve", "data": {"decision": "approved"}}),
    ("signal_run", {"name": "nothing"}),
    ("resume_run", {}),
    ("resume_run", {"skip": True}),
    ("cancel_run", {}),
    ("cancel_run", {"compensate": False}),
]


@asynccontextmanager
async def served(folder: Path, url: str) -> AsyncGenerator[tuple[Place, Actors, str]]:
    actors = Actors(folder, SCOPES)
    async with (
        place(folder, DEFINITIONS, database_url=url) as here,
        here.listening(authentication=actors.authentication) as at,
    ):
        yield here, actors, at


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    return told(await client.call_tool(tool, arguments))


@pytest.mark.parametrize("mode", ERAS)
async def test_a_run_of_somebody_else_is_as_if_it_were_not_there(tmp_path: Path, url: str, mode: str) -> None:
    async with (
        served(tmp_path, url) as (here, actors, at),
        actors.client(at, "anna", mode) as anna,
        actors.client(at, "eve", mode) as eve,
    ):
        run_id = (await call(anna, "onboard_customer", **CUSTOMER))["run_id"]
        for tool, arguments in ASKING:
            foreign = refused(await eve.call_tool(tool, {"run_id": run_id, **arguments}))
            absent = refused(await eve.call_tool(tool, {"run_id": NOT_THERE, **arguments}))
            assert foreign.replace(run_id, "ID") == absent.replace(NOT_THERE, "ID"), (tool, arguments)
            assert foreign.startswith(f"No run {run_id} that you may see.")
            short = refused(await eve.call_tool(tool, {"run_id": run_id[:12], **arguments}))
            assert short.replace(run_id[:12], "ID") == absent.replace(NOT_THERE, "ID"), (tool, arguments)
        for filters in ({}, {"mine": False}, {"mine": False, "status": "any", "workflow": "onboard_customer"}):
            assert await call(eve, "list_runs", **filters) == {"runs": []}
        trace = await here.app.runs.trace(run_id, actor=None)
        assert not trace.messages, "nothing of what was tried has reached the run"
        assert (await call(anna, "get_run", run_id=run_id))["status"] == "waiting"
        assert (await call(anna, "get_run", run_id=run_id[:12]))["run_id"] == run_id


async def test_the_same_call_and_the_same_key_of_another_actor_are_another_run(tmp_path: Path, url: str) -> None:
    async with (
        served(tmp_path, url) as (_, actors, at),
        actors.client(at, "anna") as anna,
        actors.client(at, "eve") as eve,
    ):
        ids: list[str] = []
        for client in (anna, eve):
            first = await call(client, "onboard_customer", **CUSTOMER)
            again = await call(client, "onboard_customer", **CUSTOMER)
            keyed = await call(client, "onboard_customer", **CUSTOMER, _idempotency_key="k1")
            once_more = await call(client, "onboard_customer", **CUSTOMER, _idempotency_key="k1")
            assert (again["run_id"], again["joined"]) == (first["run_id"], True)
            assert (once_more["run_id"], once_more["joined"]) == (keyed["run_id"], True)
            assert "joined" not in first
            assert "joined" not in keyed
            ids += [first["run_id"], keyed["run_id"]]
            listed = await call(client, "list_runs", idempotency_key="k1", mine=False)
            assert [run["run_id"] for run in listed["runs"]] == [keyed["run_id"]]
        assert len(set(ids)) == 4


async def test_a_child_is_of_whoever_started_its_parent(tmp_path: Path, url: str) -> None:
    async with (
        served(tmp_path, url) as (here, actors, at),
        actors.client(at, "anna") as anna,
        actors.client(at, "eve") as eve,
    ):
        await call(anna, "parent")
        async with asyncio.timeout(20):
            while len(runs := (await call(anna, "list_runs", status="needs_input"))["runs"]) < 1:
                await call(anna, "get_run", run_id=(await call(anna, "list_runs"))["runs"][0]["run_id"], wait_seconds=1)
        (child,) = [run["run_id"] for run in runs if run["workflow"] == "child"]
        assert (await here.app.runs.get(child, actor=None)).actor == "anna"
        answer = {"run_id": child, "name": "ask", "data": {"decision": "approved"}}
        assert refused(await eve.call_tool("signal_run", answer)).startswith(f"No run {child} that you may see.")
        assert (await call(anna, "signal_run", **answer))["status"] == "completed"


async def test_who_operates_sees_all_runs_and_is_recorded_as_who_asked(tmp_path: Path, url: str) -> None:
    async with (
        served(tmp_path, url) as (here, actors, at),
        actors.client(at, "anna") as anna,
        actors.client(at, "boss") as boss,
    ):
        one = (await call(anna, "onboard_customer", **CUSTOMER))["run_id"]
        other = (await call(anna, "onboard_customer", **{**CUSTOMER, "email": "c@d.org"}))["run_id"]
        assert await call(boss, "list_runs") == {"runs": []}, "without being asked it is told of its own"
        assert {run["run_id"] for run in (await call(boss, "list_runs", mine=False))["runs"]} == {one, other}
        assert (await call(boss, "get_run", run_id=one, select="trace"))["selected"]["actor"] == "anna"
        done = await call(boss, "signal_run", run_id=one, name="approve", data={"decision": "approved"})
        assert (done["status"], done["result"]["approved_by"]) == ("completed", "boss")
        assert (await call(boss, "cancel_run", run_id=other, reason="typo"))["status"] == "cancelled"
        messages = (await here.app.runs.trace(other, actor=None)).messages
        assert [(message.kind, message.actor) for message in messages] == [("cancel", "boss")]


async def test_ids_cannot_be_guessed_from_others_nor_found_by_their_beginnings(tmp_path: Path, url: str) -> None:
    async with (
        served(tmp_path, url) as (_, actors, at),
        actors.client(at, "anna") as anna,
        actors.client(at, "eve") as eve,
    ):
        ids = [(await call(anna, "child", _idempotency_key=str(number)))["run_id"] for number in range(12)]
        assert len({run_id[:10] for run_id in ids}) == 12, "what is random begins at the beginning"
        assert all(re.fullmatch("r_[0-9a-hjkmnp-tv-z]{26}", run_id) for run_id in ids)
        for tried in ("r_", "r_0", "r", "", "%", "r_%", "_" * 28, ids[0][:9], ids[0] + "x", ids[0].upper()):
            for client in (eve, anna):
                answer = await client.call_tool("get_run", {"run_id": tried})
                assert refused(answer).startswith("No run "), tried
        for client in (eve, anna):
            said = refused(await client.call_tool("get_run", {"run_id": f"{ids[0]}\x00"}))
            assert said.startswith("Arguments refused, nothing was changed. run_id: holds the character NUL"), (
                "of any id"
            )
