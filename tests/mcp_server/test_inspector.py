"""The MCP Inspector's command line: a client that is not ours, and not Python."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.mcp_server.place import edited, place
from tests.mcp_server.workflows import LARGE, SLOW, STRICT

ROOT = Path(__file__).parents[2]
BIN = ROOT / "node_modules" / ".bin"

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.node,
    pytest.mark.skipif(
        not (BIN / "mcp-inspector").exists() or not (BIN / "node").exists(),
        reason="NOT RUN: the MCP Inspector is not installed; `make node` installs it",
    ),
]

ERAS = ("modern", "legacy")
BRIEF = edited(SLOW, ("slow_one", "brief_one"), ("wait: 1h", "wait: 1s"))
DEFINITIONS = {"register": STRICT, "brief": BRIEF, "large": LARGE}


async def inspect(*arguments: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, the answer, and what went to stderr."""
    pipe = asyncio.subprocess.PIPE
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(
        str(BIN / "mcp-inspector"),
        *("--cli", *arguments, "--format", "json", "-q"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
        env=environment,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, json.loads(out.splitlines()[0]), err.decode()


def called(answer: dict[str, Any]) -> dict[str, Any]:
    result = answer["result"]
    assert not result.get("isError")
    assert json.loads(result["content"][0]["text"]) == result["structuredContent"]
    return result["structuredContent"]


@pytest.mark.parametrize("era", ERAS)
async def test_the_inspector_lists_starts_and_follows_over_http(tmp_path: Path, era: str) -> None:
    async with place(tmp_path, DEFINITIONS) as here, here.listening() as url:
        code, listed, complaints = await inspect(url, "--protocol-era", era, "--strict", "--method", "tools/list")
        assert code == 0, complaints
        assert "Error" not in complaints
        assert [tool["name"] for tool in listed["result"]["tools"]] == [
            "brief_one",
            "install_all_from_inventory",
            "register",
            "get_run",
            "list_runs",
            "signal_run",
            "resume_run",
            "cancel_run",
        ]
        call = (url, "--protocol-era", era, "--method", "tools/call", "--tool-name")
        code, answer, _ = await inspect(*call, "brief_one")
        started = called(answer)
        # Since 2026-07-28 the Inspector declares tasks, and follows the one it is answered with to its end.
        assert (code, started["status"] == "completed") == (0, era == "modern")
        code, answer, _ = await inspect(
            *call, "get_run", "--tool-arg", f"run_id={started['run_id']}", "--tool-arg", "wait_seconds=20"
        )
        polled = called(answer)
        assert (code, polled["run_id"], polled["status"]) == (0, started["run_id"], "completed")
        code, answer, _ = await inspect(*call, "register", "--tool-arg", "email=nobody")
        assert code != 0
        assert answer["result"]["isError"]
        assert answer["result"]["content"][0]["text"] == (
            'Input refused, no run was started. email: "nobody" is no email.'
        )


@pytest.mark.parametrize("era", ERAS)
async def test_the_inspector_starts_the_server_itself_over_stdio(tmp_path: Path, era: str) -> None:
    definitions = tmp_path / "definitions"
    definitions.mkdir()
    (definitions / "register.yaml").write_text(STRICT, "utf-8")
    server = (sys.executable, "-m", "mcp_workflows", "serve", str(definitions), "--protocol-era", era)
    code, answer, complaints = await inspect(
        *server, "--method", "tools/call", "--tool-name", "register", "--tool-arg", "email=a@b.org"
    )
    assert code == 0, complaints
    assert called(answer)["result"] == {"seen": "a@b.org"}
