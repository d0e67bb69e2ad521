"""Runs that call functions, or MCP servers, which a node does not know are left to nodes that do."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from mcp_workflows.app import Role, built_app
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.errors import RunRefused, SettingsInvalid
from mcp_workflows.settings import Settings

pytestmark = pytest.mark.anyio

WORKFLOW = """
name: greets
description: Calls a function of the deployment's own, in a branch.
input: {required: [who], properties: {who: {type: string}}}
steps:
  - id: both
    parallel:
      one:
        - id: greeting
          python: {call: greet_somebody, args: {name: "${input.who}"}}
      two:
        - jq: {filter: ".who | length", input: {who: "${input.who}"}}
output: ${steps.both.output}
"""
MODULE = """
import mcp_workflows

@mcp_workflows.function
def greet_somebody(name: str) -> str:
    return f"Hello {name} from {mcp_workflows.step().path}"
"""
REACHES = """
name: reaches
description: Calls a tool of a server that the settings name.
services: {tools: {mcp: tools}}
steps:
  - id: said
    mcp_tool: {service: tools, tool: echo, arguments: {text: "hello"}}
output: ${steps.said.output}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "greets.yaml").write_text(WORKFLOW)
    (tmp_path / "reaches.yaml").write_text(REACHES)
    (tmp_path / "greeting_steps.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "greeting_steps", raising=False)
    return tmp_path


def settings(place: Path, **more: Any) -> Settings:
    files = (place / "greets.yaml", place / "reaches.yaml")
    return Settings.load(definitions=files, **more)


async def test_a_run_waits_for_a_node_that_knows_its_functions(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with built_app(settings(place), role=Role.STARTER) as starter:
        view = await starter.runs.start("greets", {"who": "Ada"}, actor="test")
    with caplog.at_level(logging.WARNING):
        async with built_app(settings(place), role=Role.SERVER) as app, app.moving():
            left = await app.runs.wait(view.run_id, actor="test", seconds=1.5)
            assert (left.status, left.owner) == (RunStatus.PENDING, None)
            with pytest.raises(RunRefused, match='"greet_somebody" is not known here: MCP_WORKFLOWS_FUNCTIONS'):
                await app.runs.start("greets", {"who": "Bob"}, actor="test")
    assert 'the function "greet_somebody" is not known here' in caplog.text
    async with built_app(settings(place, functions="greeting_steps"), role=Role.SERVER) as app, app.moving():
        view = await app.runs.wait(view.run_id, actor="test", seconds=20)
    assert view.status is RunStatus.COMPLETED
    assert view.result == {"one": "Hello Ada from both.one.greeting", "two": 3}


async def test_a_run_calls_tools_of_a_server_that_the_settings_name(place: Path) -> None:
    command = [str(Path(__file__).parents[1] / "steps" / "tool_server.py"), "stdio"]
    servers = place / "servers.json"
    servers.write_text(json.dumps({"mcpServers": {"tools": {"command": sys.executable, "args": command}}}))
    async with built_app(settings(place), role=Role.SERVER) as app, app.moving():
        with pytest.raises(RunRefused, match='the MCP server "tools" is not known here'):
            await app.runs.start("reaches", {}, actor="test")
    async with built_app(settings(place, mcp_servers=servers), role=Role.SERVER) as app, app.moving():
        view = await app.runs.start("reaches", {}, actor="test")
        view = await app.runs.wait(view.run_id, actor="test", seconds=40)
    assert (view.status, view.result) == (RunStatus.COMPLETED, "hello")


async def test_a_module_that_is_not_there_keeps_a_server_from_starting_and_nobody_else(place: Path) -> None:
    wrong = settings(place, functions="nowhere_steps")
    with pytest.raises(SettingsInvalid, match='there is no module "nowhere_steps"'):
        async with built_app(wrong, role=Role.SERVER):
            pass
    async with built_app(wrong, role=Role.STARTER) as starter:
        await starter.runs.start("greets", {"who": "Ada"}, actor="test")
