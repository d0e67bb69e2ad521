"""The official conformance suite against this server, whose fixtures are workflow definitions, by the suite's own verdict.

It asks for tools by name: what they do stands in ``definitions/``. What a workflow server does not do stands in
``baseline.yml``, each with why. The suite fails on whatever else fails, and on what is listed there and passes.
"""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import pytest

from tests.mcp_server.place import place

ROOT = Path(__file__).parents[2]
NODE = ROOT / "node_modules" / ".bin" / "node"
SUITE = ROOT / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
HERE = Path(__file__).parent
DEFINITIONS = {path.stem: path.read_text("utf-8") for path in (HERE / "definitions").glob("*.yaml")}

TASKS = (
    "tasks-lifecycle", "tasks-capability-negotiation", "tasks-wire-fields", "tasks-request-state-removal",
    "tasks-mrtr-input", "tasks-request-headers", "tasks-dispatch-and-envelope", "tasks-status-notifications",
    "tasks-required-task-error", "tasks-mrtr-composition",
)  # fmt: skip

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.node,
    pytest.mark.skipif(
        not SUITE.exists() or not NODE.exists(),
        reason="NOT RUN: the conformance suite is not installed; `make node` installs it",
    ),
]


async def judged(folder: Path, *arguments: str) -> tuple[int | None, str]:
    """The suite's exit code, and all that it said."""
    process = await asyncio.create_subprocess_exec(
        NODE,
        SUITE,
        *arguments,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "NO_COLOR": "1"},
    )
    async with asyncio.timeout(100):
        out, _ = await process.communicate()
    return process.returncode, out.decode()


def scenarios(said: str) -> list[str]:
    return re.findall(r"^=== Running scenario: (\S+) ===$", said, re.MULTILINE)


@pytest.mark.parametrize(("revision", "required"), [("2026-07-28", 37), ("2025-11-25", 30)])
async def test_what_a_revision_requires_is_met(tmp_path: Path, revision: str, required: int) -> None:
    async with place(tmp_path, DEFINITIONS) as here, here.listening() as url:
        code, said = await judged(
            tmp_path,
            *("server", "--url", url, "--requirements", revision),
            *("--expected-failures", str(HERE / "baseline.yml"), "-o", "results"),
        )
    assert code == 0, said
    assert len(scenarios(said)) >= required


@pytest.mark.parametrize("scenario", TASKS)
async def test_the_tasks_extension_is_what_the_suite_expects(tmp_path: Path, scenario: str) -> None:
    async with place(tmp_path, DEFINITIONS) as here, here.listening() as url:
        code, said = await judged(
            tmp_path,
            *("server", "--url", url, "--scenario", scenario, "--spec-version", "2026-07-28", "--force"),
            *("--expected-failures", str(HERE / "baseline.yml"), "-o", "results"),
        )
    assert code == 0, said
    assert "Expected" in said or "Passed" in said


async def test_no_scenario_of_the_tasks_extension_is_left_out(tmp_path: Path) -> None:
    code, said = await judged(tmp_path, "list", "--server")
    assert code == 0, said
    assert tuple(re.findall(r"- (tasks-\S+)", said)) == TASKS
