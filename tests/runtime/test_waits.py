"""Waits end on time, whoever holds the run."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mcp_workflows.app import Role, built_app
from mcp_workflows.engine.machine import HOLD
from mcp_workflows.settings import Settings

pytestmark = pytest.mark.anyio

WAIT = """
name: pause
description: Waits longer than a node holds on to a run that waits.
steps:
  - wait: {seconds}s
"""


async def test_a_run_that_was_released_while_it_waited_goes_on_at_its_instant(tmp_path: Path) -> None:
    seconds = HOLD.total_seconds() + 1.3
    (tmp_path / "pause.yaml").write_text(WAIT.format(seconds=seconds))
    settings = Settings.load(definitions=(tmp_path,))
    async with built_app(settings, role=Role.SERVER) as app, app.moving():
        begun = time.monotonic()
        view = await app.runs.start("pause", {}, actor="test")
        early = await app.runs.wait(view.run_id, actor="test", seconds=0.3)
        assert early.status == "waiting"
        assert early.wake_at is not None
        assert early.owner is None
        view = await app.runs.wait(view.run_id, actor="test", seconds=60)
        late = time.monotonic() - begun - seconds
    assert view.status == "completed"
    assert 0 <= late < 0.9
