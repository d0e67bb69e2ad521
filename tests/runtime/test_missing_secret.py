"""Runs whose secrets have no value on a node are left to others, until they have."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from mcp_workflows.app import Role, built_app
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.settings import Settings

pytestmark = pytest.mark.anyio

SECRET = """
name: with_secret
description: Declares a secret that it sends to nobody.
secrets: [TOKEN]
steps:
  - set: {done: true}
"""


async def test_a_run_left_to_others_for_a_missing_secret_goes_on_once_the_secret_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "with_secret.yaml").write_text(SECRET)
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "TOKEN").write_text("t")
    settings = Settings.load(definitions=(tmp_path / "with_secret.yaml",), secrets_dir=secrets)
    async with built_app(settings, role=Role.STARTER) as starter:
        view = await starter.runs.start("with_secret", {}, actor="test")
    (secrets / "TOKEN").unlink()
    with caplog.at_level(logging.WARNING):
        async with built_app(settings, role=Role.SERVER) as app, app.moving():
            left = await app.runs.wait(view.run_id, actor="test", seconds=2.5)
            assert (left.status, left.owner) == (RunStatus.PENDING, None)
            (secrets / "TOKEN").write_text("t")
            view = await app.runs.wait(view.run_id, actor="test", seconds=20)
    assert view.status is RunStatus.COMPLETED
    assert sum("is left to other nodes" in record.message for record in caplog.records) == 1
