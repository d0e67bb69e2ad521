"""Blocks that are given what they cannot go through, or that do not end."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mcp_workflows.clock import new_id
from tests.mcp_server.place import told
from tests.misuse.definitions import DEFINITIONS, PARENT_OF_ITSELF, nested
from tests.misuse.place import Server, serving

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("items", "said"),
    [
        (5, "items must give a list, and gives a number"),
        ({"a": 1}, "items must give a list, and gives an object"),
        ("abc", "items must give a list, and gives a text"),
        (None, "items must give a list, and gives null"),
        ([0] * 100_001, "items gives 100,001 elements; for_each takes 100,000 at most: split them"),
    ],
)
async def test_for_each_takes_a_list_and_no_longer_one_than_it_says(server: Server, items: Any, said: str) -> None:
    run = await server.run("each", items=items)
    error = run["error"]
    assert (run["status"], error["step"], error["code"], error["message"]) == ("paused", "one", "expression", said)
    assert "resume_run with input {…} corrected tries one again" in run["next"]
    resumed = await server.run("resume_run", run_id=run["run_id"], input={"items": [1, 2]})
    assert (resumed["status"], resumed["result"]) == ("completed", {"count": 2})


async def test_a_list_of_a_million_items_is_refused_where_it_is_made(server: Server) -> None:
    run = await server.run("million")
    assert (run["error"]["step"], run["error"]["code"]) == ("all", "answer_too_large")


async def test_a_million_items_that_could_be_made_are_still_too_many(tmp_path: Path) -> None:
    with serving(tmp_path, {"million": DEFINITIONS["million"]}, MAX_ANSWER_BYTES=str(64 << 20)) as server:
        run = await server.run("million")
        assert run["error"]["step"] == "one"
        assert run["error"]["message"] == "items gives 1,000,000 elements; for_each takes 100,000 at most: split them"
        assert (await server.run("alive"))["status"] == "completed"


async def test_a_repeat_whose_until_never_holds_ends_with_its_iterations(server: Server) -> None:
    run = await server.run("never")
    error = run["error"]
    assert (run["status"], error["step"], error["code"]) == ("failed", "again", "max_iterations")
    assert error["message"] == "until did not hold after 50 iterations"


async def test_a_repeat_without_bound_lets_others_run_and_can_be_cancelled(server: Server) -> None:
    begun = told(await server.call("never_at_all", _idempotency_key=new_id("k_")))
    assert begun["status"] == "running"
    async with asyncio.timeout(5):
        assert (await server.run("alive"))["status"] == "completed"
    ended = await server.run("cancel_run", run_id=begun["run_id"])
    assert ended["status"] == "cancelled"


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("tomorrow", 'wait.until gives "tomorrow", which is no instant like 2026-11-22T09:00:00Z'),
        (
            "2026-13-01T00:00:00Z",
            'wait.until gives "2026-13-01T00:00:00Z", which is no instant like 2026-11-22T09:00:00Z',
        ),
        ("2026-11-22T09:00:00", 'wait.until gives "2026-11-22T09:00:00", which names no time zone: add Z or an offset'),
        (
            "9999-12-31T23:59:59-23:00",
            'wait.until gives "9999-12-31T23:59:59-23:00", which is more than 100 years away',
        ),
        (5, "wait.until gives 5, which is no instant like 2026-11-22T09:00:00Z"),
        (None, "wait.until gives null, which is no instant like 2026-11-22T09:00:00Z"),
    ],
)
async def test_a_wait_until_no_instant_fails_its_step(server: Server, when: Any, said: str) -> None:
    run = await server.run("until", when=when)
    assert (run["status"], run["error"]["step"], run["error"]["message"]) == ("failed", "rest", said)


@pytest.mark.parametrize("when", ["2020-01-01T00:00:00Z", "0001-01-01T00:00:00+23:00"])
async def test_a_wait_until_an_instant_of_the_past_is_over(server: Server, when: str) -> None:
    assert (await server.run("until", when=when))["status"] == "completed"


async def test_a_value_that_fits_no_case_skips_the_switch(server: Server) -> None:
    run = await server.run("no_case", plan="gold")
    assert (run["status"], run["result"]) == ("completed", {"status": "skipped"})
    assert [(step["path"], step["status"]) for step in await server.trace(run["run_id"])] == [("route", "skipped")]


@pytest.mark.parametrize(
    ("value", "case"),
    [(5, "five"), (5.0, "five"), ("5", "five"), (5.5, "no case"), (None, "nothing"), (True, "yes"), ([5], "no case")],
)
async def test_a_value_is_compared_as_its_case_would_be_written(server: Server, value: Any, case: str) -> None:
    run = await server.run("by_number", value=value, _idempotency_key=new_id("k_"))
    assert run["result"] == case


@pytest.mark.parametrize(
    ("amount", "code", "said"),
    [
        ("x", "input_refused", 'doubled refuses its input. amount: "x" is a string, expected integer.'),
        (None, "input_refused", "doubled refuses its input. amount: is null, expected integer."),
        (2**62, "child_failed", "did not complete: integer overflow, in ${input.amount * 2}"),
    ],
)
async def test_a_child_that_refuses_or_fails_says_why(server: Server, amount: Any, code: str, said: str) -> None:
    run = await server.run("parent", amount=amount)
    assert (run["status"], run["error"]["step"], run["error"]["code"]) == ("paused", "child", code)
    assert run["error"]["message"].endswith(said)
    resumed = await server.run("resume_run", run_id=run["run_id"], input={"amount": 4})
    assert (resumed["status"], resumed["result"]) == ("completed", {"twice": 8})


@pytest.mark.parametrize(
    ("workflow", "step", "code", "said"),
    [
        ("sets", "big", "output_too_large", "set gives more than 1,048,576 bytes of JSON"),
        ("doubles", "twice", "output_too_large", "repeat: next gives more than 1,048,576 bytes of JSON"),
        ("nests", "twice", "expression", "repeat: a value is nested deeper than 128 levels"),
        ("collects", "pages", "output_too_large", "repeat: collect has gathered more than 16,777,216 bytes of JSON"),
        ("gathers", "items", "output_too_large", "for_each has gathered more than 16,777,216 bytes of JSON"),
        ("answers", None, "output_too_large", "output: it gives more than 16,777,216 bytes of JSON"),
    ],
)
async def test_what_grows_too_large_to_be_recorded_fails_its_step(
    server: Server, workflow: str, step: str | None, code: str, said: str
) -> None:
    run = await server.run(workflow)
    error = run["error"]
    assert (run["status"], error.get("step"), error["code"], error["in_doubt"]) == ("failed", step, code, False)
    assert error["message"].startswith(said)
    if code == "output_too_large":
        assert error["message"].endswith(
            "keep less of it, or keep the data in a service or a blob and hand on where it is"
        )
    assert len(json.dumps(run)) < 1000


async def test_what_is_large_and_not_too_large_is_recorded_whole(server: Server) -> None:
    run = await server.run("each", items=["x" * 50_000] * 20)
    assert (run["status"], run["result"]) == ("completed", {"count": 20})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PARENT_OF_ITSELF, "workflow: child depth: ouroboros -> ouroboros has no end"),
        (nested(33), "block: steps are nested deeper than 32 lists; a child workflow can hold the rest"),
    ],
)
async def test_what_has_no_end_is_no_tool(tmp_path: Path, text: str, said: str) -> None:
    """Neither does it keep the others from being served."""
    (tmp_path / "served").mkdir()
    with serving(tmp_path / "served", {"broken": text}) as server:
        refusal = await server.refused("broken")
        assert refusal.startswith('Workflow "broken" is not served: its file is broken, ')
        assert refusal.endswith(said)
        assert "broken.yaml:" in refusal
        by_name = await server.refused("ouroboros")
        assert by_name == (
            'No tool "ouroboros", nothing was started. Broken and not served: broken.yaml; mcp-workflows validate says why. '
            "Tools here: alive, get_run, list_runs, signal_run, resume_run, cancel_run."
        )
        assert (await server.run("alive"))["status"] == "completed"
        command = [sys.executable, "-m", "mcp_workflows", "validate", str(server.folder / "definitions")]
        validated = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
        assert (validated.returncode, said in validated.stdout + validated.stderr) == (1, True)


async def test_thirty_levels_of_blocks_are_run(tmp_path: Path) -> None:
    with serving(tmp_path, {"nested": nested(31)}) as server:
        run = await server.run("nested")
        assert (run["status"], run["result"]) == ("completed", {"x": 1})
