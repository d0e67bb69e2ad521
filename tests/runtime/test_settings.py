"""A node that lacks what a workflow needs says so, and starts and moves no run of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mcp_workflows.app import Role, built_app
from mcp_workflows.errors import RunRefused
from mcp_workflows.runtime.views import RunQuery
from mcp_workflows.settings import Settings

pytestmark = pytest.mark.anyio

NEEDY = """
name: needy
description: Needs a secret, and a number of days.
vars: {DAYS: 3}
secrets: [TOKEN]
steps:
  - set: {days: "${vars.DAYS}"}
  - when: ${false}
    http: {url: "http://127.0.0.1:1/", headers: {X-Token: "${secrets.TOKEN}"}}
"""


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "set MCP_WORKFLOWS_SECRET_TOKEN"),
        ({"secrets": {"TOKEN": "t"}, "vars": {"DAYS": "many"}}, 'MCP_WORKFLOWS_VAR_DAYS is "many"'),
    ],
)
async def test_no_run_is_started_without_what_it_needs(tmp_path: Path, given: dict[str, Any], why: str) -> None:
    (tmp_path / "needy.yaml").write_text(NEEDY)
    settings = Settings.load(definitions=(tmp_path,), **given)
    async with built_app(settings, role=Role.SERVER) as app, app.moving():
        with pytest.raises(RunRefused, match=why):
            await app.runs.start("needy", {}, actor="test")
        assert (await app.runs.list(RunQuery(status="any"))).runs == []


async def test_a_run_is_left_to_a_node_that_has_what_it_needs(tmp_path: Path) -> None:
    (tmp_path / "needy.yaml").write_text(NEEDY)
    able = Settings.load(definitions=(tmp_path,), secrets={"TOKEN": "t"}, vars={"DAYS": "5"})
    misfit = Settings.load(definitions=(tmp_path,), secrets={"TOKEN": "t"}, vars={"DAYS": "many"})
    async with built_app(able, role=Role.STARTER) as starter:
        run = await starter.runs.start("needy", {}, actor="test")
        assert run.status == "pending"
    async with built_app(misfit, role=Role.SERVER) as unable, unable.moving():
        assert (await unable.runs.wait(run.run_id, actor="test", seconds=0.5)).status == "pending"
        async with built_app(able, role=Role.SERVER) as app, app.moving():
            run = await app.runs.wait(run.run_id, actor="test", seconds=20)
    assert run.status == "completed"
