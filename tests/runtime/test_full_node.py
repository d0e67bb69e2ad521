"""A node that moves few runs at a time goes from one to the next without waiting for its clock."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from mcp_workflows.app import Role, built_app
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.runtime.node import TICK
from mcp_workflows.settings import Settings

pytestmark = pytest.mark.anyio

SUM = """
name: sum
description: Computes, and calls nobody.
input: {required: [n], properties: {n: {type: integer}}}
steps:
  - set: {twice: "${input.n * 2}"}
"""


async def test_a_full_node_takes_the_next_run_as_soon_as_it_has_a_place(tmp_path: Path) -> None:
    (tmp_path / "sum.yaml").write_text(SUM)
    settings = Settings.load(definitions=(tmp_path,), max_runs=1)
    async with built_app(settings, role=Role.SERVER) as app:
        views = [await app.runs.start("sum", {"n": n}, actor="test") for n in range(12)]
        begun = time.monotonic()
        async with app.moving():
            ended = await asyncio.gather(*(app.runs.wait(v.run_id, actor="test", seconds=30) for v in views))
        took = time.monotonic() - begun
    assert {view.status for view in ended} == {RunStatus.COMPLETED}
    assert took < len(views) * TICK / 4
