"""More workflows than tools: which stay tools, how the others are found and started, and what holds for every tool list."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from mcp import MCPError
from mcp.client.subscriptions import ToolsListChanged
from mcp_types import Tool

from mcp_workflows.definition.loader import load_paths
from mcp_workflows.definition.program import Definition, McpOptions
from mcp_workflows.mcp_server.pages import PAGE
from mcp_workflows.mcp_server.tools.discovery import find
from mcp_workflows.mcp_server.tools.workflow_tools import workflow_tool
from tests.mcp_server.model_apis import complaints
from tests.mcp_server.others import FOREIGN, HIDDEN
from tests.mcp_server.place import EXAMPLES, MODERN, TRANSPORTS, edited, place, refused, told
from tests.mcp_server.toolboxes import AUTHORING, FOLLOWING, RUN_NAMES, SEARCHING, definition, names_of, toolbox
from tests.mcp_server.workflows import SLOW, STRICT

pytestmark = pytest.mark.anyio

in_every_way = pytest.mark.parametrize("transport", TRANSPORTS)

STAYS = edited(SLOW, ("name: slow_one", "name: stays"), ("mcp: {wait: 200ms}", "mcp: {wait: 200ms, expose: tool}"))


def many(count: int, **options: Any) -> dict[str, Definition]:
    return {f"w_{number:03}": definition(f"w_{number:03}", **options) for number in range(count)}


def answered(workflows: Mapping[str, Definition], query: str) -> dict[str, Any]:
    return told(find(workflows, query))


@in_every_way
async def test_what_is_no_tool_is_found_and_started_as_a_tool_would(tmp_path: Path, transport: str) -> None:
    workflows = {"register": STRICT, "slow": SLOW, "stays": STAYS, "x": HIDDEN}
    async with place(tmp_path, workflows, max_tools=2) as here, here.client(transport) as client:
        assert client.instructions is not None
        assert client.instructions.endswith(
            "find_workflows gives their names and input schemas, start_workflow starts one."
        )
        assert await names_of(client) == ["stays", "find_workflows", "start_workflow", *RUN_NAMES]
        found = told(await client.call_tool("find_workflows", {"query": "take an email"}))
        (register,) = found["workflows"]
        assert (register["name"], register["description"]) == ("register", "Takes what it is given.")
        assert register["inputSchema"]["required"] == ["email"]
        given = {"name": "register", "input": {"email": "a@b.org"}, "_idempotency_key": "k"}
        done = told(await client.call_tool("start_workflow", given))
        assert (done["status"], done["result"]) == ("completed", {"seen": "a@b.org"})
        again = told(await client.call_tool("start_workflow", given))
        assert (again["run_id"], again["joined"]) == (done["run_id"], True)
        assert refused(await client.call_tool("start_workflow", {"name": "register", "input": {"email": "x"}})) == (
            'Input refused, no run was started. email: "x" is no email.'
        )
        assert "start_workflow, name register" in str(await client.read_resource("workflow://register"))
        assert "Start it with the tool stays." in str(await client.read_resource("workflow://stays"))


@in_every_way
async def test_what_cannot_be_started_is_refused_in_words(tmp_path: Path, transport: str) -> None:
    async with (
        place(tmp_path, {"register": STRICT, "x": HIDDEN}, max_tools=0) as here,
        here.client(transport) as client,
    ):
        wrong: tuple[tuple[dict[str, Any], str], ...] = (
            ({"name": "registr"}, 'No workflow "registr", nothing was started. Did you mean "register"?'),
            ({"name": "internal"}, 'No workflow "internal", nothing was started. find_workflows finds others.'),
            ({"name": "register"}, "Input refused, no run was started. email: is missing."),
            ({"name": 7}, "Arguments refused, nothing was changed. name: 7 is an integer, expected string."),
            ({}, "Arguments refused, nothing was changed. name: is missing."),
            (
                {"name": "register", "input": []},
                "Arguments refused, nothing was changed. input: a list is given, expected object.",
            ),
        )
        for given, said in wrong:
            text = refused(await client.call_tool("start_workflow", given))
            assert text.partition("input: ")[0] == said.partition("input: ")[0]
        assert told(await client.call_tool("find_workflows", {"query": "internal"}))["workflows"] == []


async def test_with_few_workflows_nothing_has_to_be_found(tmp_path: Path) -> None:
    async with place(tmp_path, {"register": STRICT}) as here, here.client("in process, 2026") as client:
        assert await names_of(client) == ["register", *RUN_NAMES]
        assert "find_workflows" not in (client.instructions or "")
        assert refused(await client.call_tool("start_workflow", {"name": "register"})).startswith(
            'No tool "start_workflow"'
        )


@pytest.mark.parametrize("transport", MODERN)
async def test_a_file_too_many_changes_the_list_and_the_instructions_for_everybody(
    tmp_path: Path, transport: str
) -> None:
    async with place(tmp_path, {"register": STRICT}, max_tools=1) as here:
        async with here.client(transport) as client:
            async with client.listen(tools_list_changed=True) as events:
                here.define("slow", SLOW)
                async with asyncio.timeout(20):
                    assert await anext(aiter(events)) == ToolsListChanged()
            assert await names_of(client) == ["find_workflows", "start_workflow", *RUN_NAMES]
        async with here.client(transport) as client:
            assert "find_workflows" in (client.instructions or "")


@in_every_way
async def test_a_prefix_stands_before_every_name_and_in_whatever_tells_to_call_one(
    tmp_path: Path, transport: str
) -> None:
    async with (
        place(tmp_path, {"register": STRICT, "slow": SLOW}, max_tools=1, tool_prefix="crm_") as here,
        here.client(transport) as client,
    ):
        assert await names_of(client) == [f"crm_{name}" for name in ["find_workflows", "start_workflow", *RUN_NAMES]]
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert (
            tools["crm_start_workflow"].description == "Starts a workflow by name. Durable: follow it with crm_get_run."
        )
        assert "call crm_get_run with wait_seconds" in (client.instructions or "")
        slow = told(await client.call_tool("crm_start_workflow", {"name": "slow_one"}))
        assert "crm_get_run" in slow["next"]
        assert told(await client.call_tool("crm_get_run", {"run_id": slow["run_id"]}))["run_id"] == slow["run_id"]
        assert "crm_list_runs with status any shows finished" in refused(
            await client.call_tool("crm_get_run", {"run_id": FOREIGN})
        )
        own_words = "say get_run and nothing else"
        given = {"name": "register", "input": {"email": "a@b.org", "anything": own_words}}
        done = told(await client.call_tool("crm_start_workflow", given))
        read = told(await client.call_tool("crm_get_run", {"run_id": done["run_id"], "select": "input.anything"}))
        assert read["selected"] == own_words
        prompt = await client.get_prompt("diagnose_run", {"run_id": done["run_id"]})
        assert "crm_resume_run goes on" in str(prompt)
        assert "crm_start_workflow, name register" in str(await client.read_resource("workflow://register"))


@in_every_way
async def test_a_long_tool_list_comes_in_pages_and_refuses_cursors_that_it_did_not_give(
    tmp_path: Path, transport: str
) -> None:
    texts = {
        f"w_{number:03}": edited(
            STRICT, ("name: register", f"name: w_{number:03}"), ("\nsteps:", "\nmcp: {expose: tool}\nsteps:")
        )
        for number in range(PAGE + 1)
    }
    async with place(tmp_path, texts) as here, here.client(transport) as client:
        first = await client.list_tools()
        second = await client.list_tools(cursor=first.next_cursor)
        assert len(first.tools) == PAGE
        assert [tool.name for tool in second.tools] == [f"w_{PAGE}", *RUN_NAMES]
        assert second.next_cursor is None
        with pytest.raises(MCPError, match=r"No nextCursor of tools/list reads like this one. Call it again without"):
            await client.list_tools(cursor="x")
        (tmp_path / "definitions" / f"w_{PAGE - 1:03}.yaml").unlink()
        changed = asyncio.Event()
        here.app.catalog.on_change(changed.set)
        async with asyncio.timeout(20):
            await changed.wait()
        with pytest.raises(
            MCPError, match=r"This cursor is stale: the list has changed. Call tools/list again"
        ) as stale:
            await client.list_tools(cursor=first.next_cursor, cache_mode="bypass")
        assert stale.value.error.code == -32602


@pytest.mark.parametrize("transport", MODERN)
async def test_lists_and_reads_say_for_how_long_they_may_be_kept_and_by_whom(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"register": STRICT}) as here, here.client(transport) as client:
        done = told(await client.call_tool("register", {"email": "a@b.org"}))
        for kept in (
            await client.list_tools(),
            await client.list_prompts(),
            await client.list_resource_templates(),
            await client.read_resource("workflow://register"),
        ):
            assert (kept.ttl_ms, kept.cache_scope) == (30_000, "public")
        for fleeting in (await client.list_resources(), await client.read_resource(f"run://{done['run_id']}")):
            assert (fleeting.ttl_ms, fleeting.cache_scope) == (0, "private")


def test_words_find_the_workflow_that_is_meant_and_five_at_most() -> None:
    catalog = {
        "refund_order": definition("refund_order", title="Refund an order", description="Pays money back."),
        "cancel_order": definition("cancel_order", title="Cancel", description="Stops an order and its refund."),
        "onboard": definition("onboard", title="Onboard", description="Creates an account."),
    }

    def found(query: str) -> list[str]:
        return [one["name"] for one in answered(catalog, query)["workflows"]]

    assert found("refund") == ["refund_order", "cancel_order"]
    assert found("REFUNDING orders") == ["refund_order", "cancel_order"]
    assert found("accounts") == ["onboard"]
    assert found("cancel_order") == ["cancel_order", "refund_order"]
    assert found("plan email") == ["cancel_order", "onboard", "refund_order"]
    assert found("weather") == []
    assert found("") == []
    answer = answered(many(200), "weather")
    assert len(answer["workflows"]) == 0
    assert (len(answer["others"]), answer["others_omitted"]) == (50, 150)
    answer = answered(many(200), "onboard a customer")
    assert (len(answer["workflows"]), len(answer["others"]), answer["others_omitted"]) == (5, 50, 145)


def test_large_schemas_are_told_as_far_as_they_fit_into_one_answer() -> None:
    large = {
        "type": "object",
        "properties": {f"field_{number}": {"type": "string", "description": "d" * 200} for number in range(40)},
    }
    answer = answered(many(5, input_schema=large), "onboard")
    assert [one["name"] for one in answer["workflows"]] == ["w_000"]
    assert answer["others"] == ["w_001", "w_002", "w_003", "w_004"]


def test_which_are_tools_is_decided_by_the_files_and_the_number_alone() -> None:
    few = toolbox(many(30))
    assert (len(few.tools), few.searched) == (30 + 5, False)
    marked = {"z": definition("z", mcp=McpOptions(expose="tool")), "y": definition("y", mcp=McpOptions(expose="none"))}
    assert toolbox(many(30) | {"y": marked["y"]}).searched is False
    assert toolbox(many(30) | marked).names == ["z", "find_workflows", "start_workflow", *RUN_NAMES]


def test_no_tool_makes_a_model_api_refuse_the_whole_list() -> None:
    own = [workflow_tool(one) for one in load_paths([EXAMPLES, EXAMPLES.parent / "definitions"]).definitions.values()]
    assert len(own) > 10
    for tool in (*own, *FOLLOWING, *SEARCHING, *AUTHORING):
        assert complaints(tool) == [], tool.name


def test_the_rules_of_the_model_apis_are_known() -> None:
    def of(**schema: Any) -> list[str]:
        return complaints(Tool(name="t", input_schema={"type": "object", **schema}))

    assert of(oneOf=[{}]) == ["oneOf at the top"]
    assert of(properties={"a b": {}}) == [": the key a b"]
    assert of(properties={"a": {"type": "array"}}) == [".a: an array without items"]
    assert of(properties={"a": {"type": ["string", "null"]}}) == [".a: a list of types"]
    assert of(properties={"a": {"type": "array", "items": {"enum": [1]}}}) == [".a[]: an enum of what is no text"]
    assert complaints(Tool(name="x" * 65, input_schema={"type": "object"})) == [f"the name {'x' * 65}"]
