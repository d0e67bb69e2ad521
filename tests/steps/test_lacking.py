"""What a definition needs and a node does not have: such runs are left to others, and the sentence says what to do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mcp_workflows.definition.program import (
    Arm,
    Compensation,
    Definition,
    ForEachWork,
    JqWork,
    McpToolWork,
    ParallelWork,
    PythonWork,
    RepeatWork,
    Step,
    SwitchWork,
)
from mcp_workflows.definition.walk import walk
from mcp_workflows.errors import SettingsInvalid
from mcp_workflows.steps import Environment, Steps, load_servers
from mcp_workflows.steps.mcp_tool.servers import McpServer
from tests.steps.calls import template

NOTHING = template({})


def step(name: str, work: Any = None, **more: Any) -> Step:
    return Step(name, "python", work or PythonWork(name, NOTHING), **more)


def definition(*steps: Step, **more: Any) -> Definition:
    return Definition(
        name="w", title=None, description="", content="", digest=str(id(steps)), input_schema={}, output_schema=None,
        vars={}, secrets=(), steps=steps, output=None, **more,
    )  # fmt: skip


DEEP = definition(
    step("a", on_error=(Arm("when1", (step("b"),)),), compensate=Compensation((step("c"),))),
    step(
        "s", SwitchWork((Arm("when1", (step("d"),)), Arm("else", (step("e", compensate=Compensation((step("f"),))),))))
    ),
    step("p", ParallelWork({"x": (step("g"),), "y": (step("i", ForEachWork(NOTHING, (step("h"),))),)})),
    step("r", RepeatWork((step("j"),), max_iterations=1)),
)


def test_every_step_is_walked_however_deep_it_stands() -> None:
    assert [one.name for one in walk(DEEP)] == ["a", "b", "c", "s", "d", "e", "f", "p", "g", "i", "h", "r", "j"]


def test_every_function_that_is_not_here_is_named_once() -> None:
    lacking = Steps(Environment()).lacks(DEEP)
    assert [sentence.split('"')[1] for sentence in lacking] == ["a", "b", "c", "d", "e", "f", "g", "h", "j"]
    assert "MCP_WORKFLOWS_FUNCTIONS names no module" in lacking[0]


def tool(server: str) -> Definition:
    return definition(step("t", McpToolWork("s", template(server), "echo")))


def test_a_server_that_is_not_in_the_settings_is_named_and_a_url_needs_none() -> None:
    steps = Steps(Environment(mcp_servers={"desk": McpServer("desk", url="http://x/mcp")}, vars={"WHERE": "files"}))
    assert steps.lacks(tool("desk")) == ()
    assert steps.lacks(tool("https://desk.example.com/mcp")) == ()
    assert "MCP_WORKFLOWS_MCP_SERVERS has desk" in steps.lacks(tool("files"))[0]
    assert '"files" is not known here' in steps.lacks(replace(tool("${vars.WHERE}"), vars={"WHERE": "desk"}))[0]
    assert steps.lacks(tool("${input.where}")) == ()  # only the attempt can tell


def test_what_needs_nothing_of_the_node_lacks_nothing() -> None:
    assert Steps(Environment()).lacks(definition(step("q", JqWork(".", NOTHING)))) == ()


def test_servers_are_read_from_the_file_that_clients_share(tmp_path: Path) -> None:
    file = tmp_path / "servers.json"
    entries = {
        "files": {"command": "npx", "args": ["-y", "x"], "env": {"API_KEY": "k", "PLAIN": "p"}, "disabled": False},
        "desk": {"type": "http", "url": "https://desk.example.com/mcp", "headers": {"Authorization": "Bearer token"}},
    }
    file.write_text(json.dumps({"mcpServers": entries, "inputs": []}))
    servers = load_servers(file)
    assert (servers["files"].command, servers["files"].args) == ("npx", ("-y", "x"))
    assert servers["files"].confidential == {"API_KEY": "k"}
    assert servers["desk"].confidential == {"Authorization": "token"}
    assert "token" not in repr(servers)
    assert load_servers(None) == {}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read: No such file"),
        ("{", "is no JSON"),
        ("[]", 'must be {"mcpServers"'),
        ('{"mcpServers": {"a": {}}}', "mcpServers.a: give either command or url"),
        ('{"mcpServers": {"a": {"command": "x", "url": "http://x"}}}', "mcpServers.a: give either command or url"),
        ('{"mcpServers": {"a": {"command": "x", "args": "y"}}}', "mcpServers.a.args: Input should be a valid list"),
        ('{"mcpServers": {"a": {"type": "sse", "url": "http://x"}}}', "mcpServers.a.type"),
        ('{"mcpServers": {"a": {"url": "ftp://x"}}}', "mcpServers.a.url"),
        ('{"mcpServers": {"a": 1}}', "mcpServers.a"),
    ],
)
def test_a_file_of_servers_that_cannot_be_used_is_refused_with_its_place(
    content: str | None, told: str, tmp_path: Path
) -> None:
    file = tmp_path / "servers.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsInvalid) as refused:
        load_servers(file)
    assert "MCP_WORKFLOWS_MCP_SERVERS" in str(refused.value)
    assert told in str(refused.value)
