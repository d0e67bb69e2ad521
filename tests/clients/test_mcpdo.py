"""mcpdo, which comes with the MCP Inspector: a person at a shell, whose calls and answers are commands of their own."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.clients.place import RESULT, ordering

BIN = Path(__file__).parents[2] / "node_modules" / ".bin"

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.node,
    pytest.mark.skipif(
        not (BIN / "mcpdo").exists() or not (BIN / "node").exists(),
        reason="NOT RUN: mcpdo is not installed; `make node` installs it",
    ),
]


async def said(environment: Mapping[str, str], *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        BIN / "mcpdo",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


@asynccontextmanager
async def shell(home: Path) -> AsyncGenerator[dict[str, str]]:
    """The environment of a shell of its own: what keeps the connections between two commands is stopped with it."""
    environment = {
        **os.environ,
        "HOME": str(home),
        "MCP_INSPECTOR_SECRET_STORE": "memory",
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    }
    environment |= dict(re.findall(r"^export (\w+)='(.*)'$", await said(environment, "private"), re.MULTILINE))
    try:
        yield environment
    finally:
        await said(environment, "daemon", "stop")


@pytest.mark.parametrize(("era", "origin"), [("modern", "task-input-required"), ("legacy", "server-request")])
async def test_a_person_at_a_shell_answers_the_question_of_a_task_or_a_call(
    tmp_path: Path, era: str, origin: str
) -> None:
    async with ordering(tmp_path) as url, shell(tmp_path) as environment:

        async def tell(*command: str) -> dict[str, Any]:
            return json.loads(await said(environment, "--format", "json", "--connection", "here", *command))

        assert (await tell("connect", url, "--era", era))["protocolEra"] == era
        asked = (await tell("tools/call", "order", '{"item": "a desk"}'))["elicitationPending"]
        assert asked["origin"] == origin
        assert asked["message"].startswith("Order a desk?\n\norder, r_")
        answer = ('decision:="approved"', "amount:=3")
        result = await tell("elicitation/respond", asked["elicitationId"], *answer)
        assert not result["isError"]
        told = result["structuredContent"]
        assert told | {"run_id": ""} == {"run_id": "", "status": "completed", "result": RESULT}
        assert told["run_id"] in asked["message"]
