"""The TypeScript SDK's client: in both eras, over both transports."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.clients.place import ANSWER, RESULT, RUN_TOOLS, command, ordering

ROOT = Path(__file__).parents[2]
NODE = ROOT / "node_modules" / ".bin" / "node"
SCRIPT = Path(__file__).with_name("typescript.mjs")

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.node,
    pytest.mark.skipif(
        not NODE.exists() or not (ROOT / "node_modules" / "@modelcontextprotocol" / "client").exists(),
        reason="NOT RUN: the TypeScript SDK is not installed; `make node` installs it",
    ),
]

VERSIONS = {"2026": "2026-07-28", "2025": "2025-11-25"}


async def seen(**given: Any) -> dict[str, Any]:
    """What the client saw."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        NODE, SCRIPT, json.dumps(given), stdout=pipe, stderr=pipe, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return json.loads(out)


@asynccontextmanager
async def server(folder: Path, transport: str) -> AsyncGenerator[dict[str, Any]]:
    """How the client reaches it."""
    if transport == "http":
        async with ordering(folder) as url:
            yield {"url": url}
    else:
        yield {"command": sys.executable, "args": command(folder)}


@pytest.mark.parametrize("era", VERSIONS)
@pytest.mark.parametrize("transport", ["http", "stdio"])
async def test_a_person_at_the_client_answers_while_the_call_is_open(tmp_path: Path, transport: str, era: str) -> None:
    async with server(tmp_path, transport) as reached:
        saw = await seen(**reached, era=era, answer=ANSWER, calls=[["order", {"item": "a desk"}]])
    assert saw["version"] == VERSIONS[era]
    assert saw["tools"] == ["order", *RUN_TOOLS]
    assert saw["progress"] >= 1
    [asked] = saw["asked"]
    assert asked["message"].startswith("Order a desk?\n\norder, r_")
    assert list(asked["requestedSchema"]["properties"]) == ["decision", "amount", "note"]
    [result] = saw["results"]
    assert result["structuredContent"] | {"run_id": ""} == {"run_id": "", "status": "completed", "result": RESULT}
    assert json.loads(result["content"][0]["text"]) == result["structuredContent"]


@pytest.mark.parametrize("era", VERSIONS)
async def test_a_client_without_forms_is_told_who_decides_and_may_not_itself(tmp_path: Path, era: str) -> None:
    calls: list[tuple[str, dict[str, Any]]] = [
        ("order", {"item": "a desk"}),
        ("signal_run", {"run_id": "$RUN", "name": "agree", "data": {"decision": "approved", "form": {"amount": 3}}}),
        ("get_run", {"run_id": "$RUN", "wait_seconds": 1}),
        ("order", {}),
    ]
    async with server(tmp_path, "http") as reached:
        saw = await seen(**reached, era=era, calls=calls)
    assert saw["asked"] == []
    waiting, refused, followed, wrong = saw["results"]
    assert waiting["structuredContent"]["status"] == "waiting"
    [wait] = waiting["structuredContent"]["waiting_for"]
    assert (wait["name"], wait["by"]) == ("agree", "person")
    assert refused["isError"]
    assert "must be decided by a person" in refused["content"][0]["text"]
    assert followed["structuredContent"]["status"] == "waiting"
    assert followed["structuredContent"]["run_id"] == waiting["structuredContent"]["run_id"]
    assert wrong["isError"]
    assert wrong["content"][0]["text"].startswith("Input refused, no run was started.")
