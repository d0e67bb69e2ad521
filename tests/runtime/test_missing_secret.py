"""Runs whose secrets have no value on a node are left to others, until they have."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from mcp_workflows.app import Role, built_app
from mcp_workflows.cli.timeline import ending
from mcp_workflows.clock import utc_now
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.mcp_server.views.next_step import next_step
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
            lacks = "this server has no value for the secrets of with_secret: set MCP_WORKFLOWS_SECRET_TOKEN"
            assert left.stranded == lacks
            assert (next_step(left, utc_now()) or "").startswith(f"No server that is up can go on with it: {lacks}.")
            assert lacks in "".join(map(str, ending(left)))
            (secrets / "TOKEN").write_text("t")
            view = await app.runs.wait(view.run_id, actor="test", seconds=20)
    assert view.status is RunStatus.COMPLETED
    assert sum("is left to other nodes" in record.message for record in caplog.records) == 1


async def test_a_run_that_one_node_leaves_for_want_of_a_secret_is_moved_by_another_that_has_it(tmp_path: Path) -> None:
    (tmp_path / "with_secret.yaml").write_text(SECRET)
    definitions = (tmp_path / "with_secret.yaml",)
    without = Settings.load(definitions=definitions)
    having = Settings.load(definitions=definitions, secrets={"TOKEN": "t"})
    async with built_app(without, role=Role.SERVER) as lacking, lacking.moving():
        async with built_app(having, role=Role.STARTER) as starter:
            run_id = (await starter.runs.start("with_secret", {}, actor="test")).run_id
        async with asyncio.timeout(30):
            while (await lacking.runs.get(run_id, actor="test")).stranded is None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        async with built_app(having, role=Role.SERVER) as able, able.moving():
            view = await lacking.runs.wait(run_id, actor="test", seconds=20)
            assert (view.status, view.stranded) == (RunStatus.COMPLETED, None)
            told = {node.node_id: node.report for node in await able.store.nodes() if node.report is not None}
            report = told[lacking.store.node_id]
    assert [unable.workflow for unable in report.cannot] == ["with_secret"]
