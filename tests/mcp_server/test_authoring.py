"""Agents that write definitions, where a deployment lets them: checked, tested, and saved into one folder and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.types import TextResourceContents
from mcp_types import CallToolResult, ToolListChangedNotification

from mcp_workflows.access.principal import OPERATE, RUN, Principal
from mcp_workflows.definition.loader import load_text
from mcp_workflows.errors import InputRefused
from mcp_workflows.mcp_server.authoring import drafts
from mcp_workflows.mcp_server.authoring.guide import EXAMPLE, EXAMPLE_TESTS
from mcp_workflows.mcp_server.authoring.saving import save
from mcp_workflows.mcp_server.authoring.toolset import Authoring
from mcp_workflows.mcp_server.caller import Caller
from tests.mcp_server.place import TRANSPORTS, edited, place, refused, told
from tests.mcp_server.toolboxes import RUN_NAMES, names_of
from tests.mcp_server.workflows import STRICT

pytestmark = pytest.mark.anyio

in_every_way = pytest.mark.parametrize("transport", TRANSPORTS)
OTHER = STRICT.replace("name: register", "name: other")
PARENT = """
name: parent
description: Has somebody registered by another workflow.
steps:
  - id: child
    workflow: {name: register, input: {email: a@b.org}}
output: {seen: "${steps.child.output.seen}"}
"""


def folder(tmp_path: Path) -> Path:
    definitions = tmp_path / "definitions"
    definitions.mkdir(exist_ok=True)
    return definitions


async def call(client: Client, tool: str, **arguments: Any) -> Mapping[str, Any]:
    return told(await client.call_tool(tool, arguments))


async def test_nothing_of_it_is_there_unless_it_is_turned_on(tmp_path: Path) -> None:
    async with place(tmp_path, {"register": STRICT}) as here, here.client("in process, 2026") as client:
        assert await names_of(client) == ["register", *RUN_NAMES]
        assert refused(await client.call_tool("save_definition", {"definition": OTHER})).startswith("No tool")
    async with place(tmp_path, {}, authoring=True) as here, here.client("in process, 2026") as client:
        assert await names_of(client) == ["register", *RUN_NAMES, "validate_definition", "test_definition"]
        assert refused(await client.call_tool("save_definition", {"definition": OTHER})).startswith("No tool")


@in_every_way
async def test_a_draft_is_checked_tested_saved_and_then_a_tool(tmp_path: Path, transport: str) -> None:
    heard: list[Any] = []

    async def on_message(message: Any) -> None:
        heard.append(message)

    options = {"authoring": True, "authoring_folder": folder(tmp_path)}
    async with (
        place(tmp_path, {"register": STRICT}, **options) as here,
        here.client(transport, message_handler=on_message) as client,
    ):
        prompt = str(await client.get_prompt("write_workflow", {"goal": "Open a trial."}))
        assert "run them with test_definition" in prompt
        assert "a pro trial that nobody agrees to is not opened" in prompt, "the example of tests"
        assert "run them with test_definition" in prompt
        broken = await call(client, "validate_definition", definition=EXAMPLE.replace("input.email", "input.emial"))
        assert broken["valid"] is False
        assert any('no property "emial"' in one or "emial" in one for one in broken["problems"])
        assert await call(client, "validate_definition", definition=EXAMPLE) == {"valid": True, "name": "start_trial"}
        tested = await call(client, "test_definition", definition=EXAMPLE, tests=EXAMPLE_TESTS)
        assert tested["passed"] is True
        assert [one["passed"] for one in tested["tests"]] == [True, True]
        wrong = await call(
            client, "test_definition", definition=EXAMPLE, tests=EXAMPLE_TESTS.replace("{account: a1", "{account: b2")
        )
        assert wrong["passed"] is False
        assert "b2" in wrong["tests"][0]["differences"][0]
        saved = await call(client, "save_definition", definition=EXAMPLE)
        assert saved["file"] == str(folder(tmp_path) / "start_trial.yaml")
        assert (saved["served"], saved["next"]) == (True, "It is served as version 1.")
        assert "start_trial" in [tool.name for tool in (await client.list_tools(cache_mode="refresh")).tools]
        if transport.endswith("2025"):
            assert any(isinstance(one, ToolListChangedNotification) for one in heard)
        changed = EXAMPLE.replace("Opens a trial account", "Opens an account for a trial")
        assert "replace" in refused(await client.call_tool("save_definition", {"definition": changed}))
        again = await call(client, "save_definition", definition=changed, replace=True)
        assert again["next"] == "It is served as version 2."


async def test_a_draft_may_start_workflows_that_are_served(tmp_path: Path) -> None:
    async with place(tmp_path, {"register": STRICT}, authoring=True) as here, here.client("in process, 2026") as client:
        assert (await call(client, "validate_definition", definition=PARENT))["valid"] is True
        lonely = await call(client, "validate_definition", definition=PARENT.replace("register", "nobody"))
        assert lonely["valid"] is False


async def test_the_guide_the_schema_and_examples_are_resources(tmp_path: Path) -> None:
    async with place(tmp_path, {}, authoring=True) as here, here.client("in process, 2026") as client:
        listed = {one.uri: one for one in (await client.list_resources()).resources}
        texts: dict[str, str] = {}
        for uri in listed:
            (contents,) = (await client.read_resource(uri)).contents
            assert isinstance(contents, TextResourceContents)
            texts[uri] = contents.text
        assert texts["authoring://examples/start_trial.yaml"] == EXAMPLE
        assert json.loads(texts["authoring://schema"])["title"] == "Workflow"
        assert "```yaml" in texts["authoring://guide"]


async def test_no_broken_definition_and_none_of_another_file_is_saved(tmp_path: Path) -> None:
    options = {"authoring": True, "authoring_folder": folder(tmp_path)}
    async with (
        place(tmp_path, {"by_another_name": STRICT}, **options) as here,
        here.client("in process, 2026") as client,
    ):
        before = {file: file.read_bytes() for file in folder(tmp_path).iterdir()}
        for text, said in (
            ("name: [", "Not saved, for it has problems. 1:"),
            (OTHER.replace("name: other", "name: ../other"), "Not saved, for it has problems. "),
            (OTHER.replace("name: other", "name: get_run"), "Not saved, for it has problems. "),
            (STRICT.replace("Takes what", "Now takes what"), 'Not saved: "register" is the name of the workflow in '),
            ("\x00", "Arguments refused, nothing was changed. definition: holds the character NUL"),
            ("x" * 1_100_000, "Arguments refused, nothing was changed. The input is "),
        ):
            for replace in (False, True):
                given = {"definition": text, "replace": replace}
                assert refused(await client.call_tool("save_definition", given)).startswith(said)
        assert {file: file.read_bytes() for file in folder(tmp_path).iterdir()} == before


def test_a_file_is_written_whole_and_never_through_a_link_or_beside_its_like(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside.yaml"
    inside.mkdir()
    outside.write_text("mine", "utf-8")
    definition = load_text(OTHER, "draft")
    (inside / "other.yaml").symlink_to(outside)
    with pytest.raises(InputRefused, match="is no file of its own"):
        save(inside, definition, OTHER, served=None, replace=True)
    assert outside.read_text("utf-8") == "mine"
    (inside / "other.yaml").unlink()
    (inside / "other.json").write_text("{}", "utf-8")
    with pytest.raises(InputRefused, match=r"other.json is there already"):
        save(inside, definition, OTHER, served=None, replace=True)
    (inside / "other.json").unlink()
    assert save(inside, definition, OTHER, served=None, replace=False) == inside / "other.yaml"
    assert [file.name for file in inside.iterdir()] == ["other.yaml"]
    with pytest.raises(InputRefused, match="is not there"):
        save(tmp_path / "gone", definition, OTHER, served=None, replace=False)


async def test_tests_reach_no_other_file_no_secret_and_end_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MCP_WORKFLOWS_SECRET_CRM_TOKEN", "hunter2-hunter2")
    async with place(tmp_path, {}, authoring=True) as here, here.client("in process, 2026") as client:
        other = EXAMPLE_TESTS + "definition: /etc/passwd\n"
        said = refused(await client.call_tool("test_definition", {"definition": EXAMPLE, "tests": other}))
        assert said.startswith("tests: leave definition out")
        looking = edited(
            EXAMPLE_TESTS, ("json: {email: ada@example.com, plan: free}", "headers: {authorization: nothing}")
        )
        found = await call(client, "test_definition", definition=EXAMPLE, tests=looking)
        assert found["passed"] is False
        assert "hunter2" not in json.dumps(found)
        broken = await call(client, "test_definition", definition=EXAMPLE, tests="tests: [")
        assert broken["problems"][0].startswith("draft.test.yaml:")
        monkeypatch.setattr(drafts, "SECONDS", 0.01)
        late = refused(await client.call_tool("test_definition", {"definition": EXAMPLE, "tests": EXAMPLE_TESTS}))
        assert late == "The tests did not end within 0 s."


async def test_with_tokens_only_an_operator_saves(tmp_path: Path) -> None:
    async def report(_done: float, _message: str | None) -> None: ...

    async with place(tmp_path, {}) as here:
        authoring = Authoring(here.app.catalog, folder(tmp_path))
        for scopes, allowed in (({RUN}, False), ({RUN, OPERATE}, True)):
            caller = Caller("ada", report, Principal("ada", frozenset(scopes)))
            (saving,) = (one for one in authoring.tools if one.tool.name == "save_definition")
            result = await saving.call({"definition": OTHER}, caller)
            assert isinstance(result, CallToolResult)
            assert result.is_error is not allowed
            assert (folder(tmp_path) / "other.yaml").exists() is allowed
