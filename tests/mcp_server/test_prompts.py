"""Prompts hold what is needed to find out why a run failed, and to write a definition; completions help to fill them in."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp.types import GetPromptResult, PromptReference, ResourceTemplateReference, TextContent

from mcp_workflows.definition.loader import load_paths
from mcp_workflows.definition.model.step import KINDS
from mcp_workflows.mcp_server.authoring.guide import EXAMPLE, GUIDE
from tests.mcp_server.others import FOREIGN, HIDDEN, run_of_another
from tests.mcp_server.place import TRANSPORTS, place, told
from tests.mcp_server.workflows import ORDER, PAUSING, SLOW, STRICT

pytestmark = pytest.mark.anyio

in_every_way = pytest.mark.parametrize("transport", TRANSPORTS)


def text_of(result: GetPromptResult) -> str:
    (message,) = result.messages
    assert message.role == "user"
    assert isinstance(message.content, TextContent)
    return message.content.text


def parts(text: str) -> dict[str, Any]:
    """The JSON of a prompt by the titles of its parts."""
    found = re.findall(r"^([^\n]+):\n```json\n(.*?)\n```$", text, re.MULTILINE | re.DOTALL)
    return {title: json.loads(block) for title, block in found}


async def values(client: Client, ref: ResourceTemplateReference | PromptReference, name: str, typed: str) -> list[str]:
    return (await client.complete(ref, {"name": name, "value": typed})).completion.values


@in_every_way
async def test_a_failed_run_is_told_with_all_that_is_needed_to_diagnose_it(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"saga": PAUSING}) as here, here.client(transport) as client:
        run = told(await client.call_tool("saga_order_fulfillment", ORDER))
        run = told(await client.call_tool("get_run", {"run_id": run["run_id"], "wait_seconds": 20}))
        assert run["status"] == "paused"
        prompt = text_of(await client.get_prompt("diagnose_run", {"run_id": run["run_id"]}))
        assert "is paused because a step failed" in prompt
        assert "\n\nWhat the workflow is for: Reserves the goods of an order, " in prompt
        assert "The resource workflow://saga_order_fulfillment shows its steps." in prompt
        assert "told from outside" not in prompt, "nothing was"
        assert len(prompt) // 4 <= 860, "tokens"
        found = parts(prompt)
        assert found["The run"] == run
        assert found["Its input"]["shipment_status"] == "2OO"
        failed = found["The step that failed"]
        assert (failed["path"], failed["status"]) == ("ship", "failed")
        assert failed["failed_attempts"][0]["error"]["request"]["query"] == {"status": "2OO"}
        last = [step["path"] for step in found["The last of its 4 steps"]]
        assert last == ["reserve", "approval", "charge", "ship"]
        short = text_of(await client.get_prompt("diagnose_run", {"run_id": run["run_id"][:12]}))
        assert parts(short)["The run"]["run_id"] == run["run_id"]


@in_every_way
async def test_prompts_refuse_what_is_missing_unknown_or_foreign(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"register": STRICT}) as here, here.client(transport) as client:
        prompts = (await client.list_prompts()).prompts
        assert [prompt.name for prompt in prompts] == ["diagnose_run", "write_workflow"]
        foreign = await run_of_another(here)
        for name, arguments, said in (
            ("diagnose_run", {"run_id": FOREIGN}, f"No run {FOREIGN} that you may see."),
            ("diagnose_run", {"run_id": foreign}, f"No run {foreign} that you may see."),
            ("diagnose_run", {}, "diagnose_run: run_id is missing."),
            ("diagnose_run", {"run_id": " "}, "diagnose_run: run_id is missing."),
            ("write_workflow", {"goal": "x", "tone": "y"}, "write_workflow: tone is not known."),
            ("diagnose", {}, 'No prompt "diagnose". Did you mean "diagnose_run"?'),
        ):
            with pytest.raises(MCPError) as refused:
                await client.get_prompt(name, arguments)
            assert (refused.value.error.code, refused.value.error.message) == (-32602, said)


@in_every_way
async def test_names_and_own_ids_are_completed(tmp_path: Path, transport: str) -> None:
    workflows = {"register": STRICT, "slow": SLOW, "x": HIDDEN}
    async with place(tmp_path, workflows) as here, here.client(transport) as client:
        done = told(await client.call_tool("register", {"email": "a@b.org"}))["run_id"]
        slow = told(await client.call_tool("slow_one", {}))["run_id"]
        foreign = await run_of_another(here)
        workflow = ResourceTemplateReference(type="ref/resource", uri="workflow://{name}")
        run = ResourceTemplateReference(type="ref/resource", uri="run://{run_id}")
        result = ResourceTemplateReference(type="ref/resource", uri="run://{run_id}/result")
        diagnose = PromptReference(type="ref/prompt", name="diagnose_run")
        assert await values(client, workflow, "name", "") == ["register", "slow_one"]
        assert await values(client, workflow, "name", "sl") == ["slow_one"]
        assert await values(client, run, "run_id", "") == [slow, done]
        assert await values(client, run, "run_id", done[:10]) == [done]
        assert await values(client, run, "run_id", foreign[:10]) == []
        assert await values(client, run, "run_id", "%") == []
        assert await values(client, result, "run_id", "r_") == [done]
        assert await values(client, diagnose, "run_id", "") == []
        assert await values(client, PromptReference(type="ref/prompt", name="write_workflow"), "goal", "x") == []
        for ref, name in ((workflow, "run_id"), (PromptReference(type="ref/prompt", name="no"), "x")):
            with pytest.raises(MCPError, match="Nothing can be completed in"):
                await values(client, ref, name, "")


async def test_failed_and_paused_runs_are_offered_for_diagnosis(tmp_path: Path) -> None:
    async with (
        place(tmp_path, {"saga": PAUSING, "register": STRICT}) as here,
        here.client("in process, 2026") as client,
    ):
        await client.call_tool("register", {"email": "a@b.org"})
        run = told(await client.call_tool("saga_order_fulfillment", ORDER))
        run = told(await client.call_tool("get_run", {"run_id": run["run_id"], "wait_seconds": 20}))
        diagnose = PromptReference(type="ref/prompt", name="diagnose_run")
        assert await values(client, diagnose, "run_id", "") == [run["run_id"]]


@in_every_way
async def test_the_prompt_to_write_a_definition_teaches_the_language(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"register": STRICT}) as here, here.client(transport) as client:
        prompt = text_of(await client.get_prompt("write_workflow", {"goal": "Refund an order."}))
        assert "Refund an order." in prompt
        assert GUIDE in prompt
        assert "mcp-workflows validate FILE" in prompt


def test_the_guide_names_every_kind_of_step_and_its_example_has_no_flaw(tmp_path: Path) -> None:
    assert [kind for kind in KINDS if f"`{kind}`" not in GUIDE] == []
    (tmp_path / "start_trial.yaml").write_text(EXAMPLE, "utf-8")
    loaded = load_paths([tmp_path])
    assert list(loaded.definitions) == ["start_trial"]
    assert (loaded.problems, loaded.warnings) == ((), ())
    assert len(GUIDE) // 4 <= 1000, "tokens"
