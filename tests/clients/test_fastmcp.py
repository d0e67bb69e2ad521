"""FastMCP's client, and an agent of pydantic-ai that is built on it: with the tasks extension and without."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.clients.place import ANSWER, RESULT, RUN_TOOLS, command, ordering

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".clients" / "bin" / "python"


pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        not (ROOT / ".clients" / ".installed").exists(),
        reason="NOT RUN: the clients of others are not installed; `make clients` installs them",
    ),
]


async def seen(script: str, **given: Any) -> dict[str, Any]:
    """What the client saw. It runs in an environment of its own."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        PYTHON, Path(__file__).with_name(script), json.dumps(given), stdout=pipe, stderr=pipe
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return json.loads(out)


def on_stdio(folder: Path) -> dict[str, Any]:
    return {"command": sys.executable, "args": command(folder), "env": {"PYTHONPATH": str(ROOT)}}


def completed(told: dict[str, Any]) -> bool:
    return told | {"run_id": ""} == {"run_id": "", "status": "completed", "result": RESULT}


@pytest.mark.parametrize(("era", "tasks"), [("2026", True), ("2026", False), ("2025", False)])
@pytest.mark.parametrize("transport", ["http", "stdio"])
async def test_fastmcp_asks_its_person_in_the_middle(tmp_path: Path, transport: str, era: str, tasks: bool) -> None:
    given = {"era": era, "tasks": tasks, "answer": ANSWER}
    if transport == "http":
        async with ordering(tmp_path) as url:
            saw = await seen("fastmcp_client.py", url=url, **given)
    else:
        saw = await seen("fastmcp_client.py", **on_stdio(tmp_path), **given)
    assert saw["tools"] == ["order", *RUN_TOOLS]
    [asked] = saw["asked"]
    assert asked.startswith("Order a desk?\n\norder, r_")
    assert not saw["error"]
    assert completed(saw["told"])


@pytest.mark.parametrize("tasks", [True, False])
async def test_an_agent_corrects_its_call_and_has_the_result_once_its_person_agrees(
    tmp_path: Path, tasks: bool
) -> None:
    async with ordering(tmp_path) as url:
        saw = await seen("agent.py", url=url, tasks=tasks, answer=ANSWER)
    assert saw["tools"] == ["order", *RUN_TOOLS]
    [refused] = saw["refused"]
    assert refused.startswith("Input refused, no run was started.")
    assert len(saw["asked"]) == 1
    [told] = saw["told"]
    assert completed(told)
    assert saw["said"] == "completed"


async def test_an_agent_whose_client_shows_no_forms_is_told_that_a_person_decides(tmp_path: Path) -> None:
    async with ordering(tmp_path) as url:
        saw = await seen("agent.py", url=url, tasks=False, answer=None)
    first, *later = saw["told"]
    assert first["status"] == "waiting"
    assert [(wait["name"], wait["by"]) for wait in first["waiting_for"]] == [("agree", "person")]
    assert "person" in first["next"]
    assert [told["run_id"] for told in later] == [first["run_id"]] * 2
    assert saw["said"] == "waiting"
