"""What the server costs a conversation, at four characters a token: bounds that are kept from growing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from mcp_types import Tool

from mcp_workflows.asking.waiting import Waiting
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.mcp_server.instructions import instructions
from mcp_workflows.mcp_server.tools.answers import answer
from mcp_workflows.mcp_server.tools.discovery import find
from mcp_workflows.mcp_server.tools.workflow_tools import workflow_tool
from mcp_workflows.mcp_server.views.run_object import Telling, run_line, run_object
from mcp_workflows.runtime.views import Progress
from tests.mcp_server.place import text_of
from tests.mcp_server.toolboxes import AUTHORING, FOLLOWING, SEARCHING, definition, wire
from tests.mcp_server.views import NOW, STARTED, refused_booking, view

DECISION = {
    "type": "object",
    "required": ["decision"],
    "properties": {"decision": {"type": "string", "enum": ["approved", "rejected"]}, "note": {"type": "string"}},
    "additionalProperties": False,
}


def tokens(value: Any) -> int:
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return -(-len(text) // 4)


def of_tools(tools: Sequence[Tool]) -> int:
    """Of what a model is given of a tool."""
    return tokens([{key: wire(tool)[key] for key in ("name", "description", "inputSchema")} for tool in tools])


def test_the_tools_and_the_instructions_cost_few_tokens() -> None:
    assert of_tools(FOLLOWING) <= 632
    assert of_tools(SEARCHING) <= 178
    assert of_tools(AUTHORING) <= 275
    assert of_tools([workflow_tool(definition())]) <= 133
    assert tokens(instructions(searched=False)) <= 184
    assert tokens(instructions(searched=True)) - tokens(instructions(searched=False)) <= 32


@pytest.mark.parametrize(
    ("most", "run"),
    [
        (47, view(RunStatus.RUNNING, progress=Progress(2, ("ship",)))),
        (65, view(RunStatus.RUNNING, progress=Progress(2, ("ship",)), joined=True)),
        (16, view(RunStatus.COMPLETED)),
        (31, view(RunStatus.COMPLETED, result={"order_id": "o1", "charge_id": "c1", "shipment": "s1"})),
        (64, view(RunStatus.COMPLETED, result={"installed": [{"device": "d" * 100}] * 300})),
        (109, view(RunStatus.PAUSED, error=refused_booking(), would_undo=("charge", "reserve"))),
        (109, view(RunStatus.FAILED, error=refused_booking(), compensation="done", undone=("charge", "reserve"))),
        (16, view(RunStatus.CANCELLED, compensation="none")),
        (
            134,
            view(
                RunStatus.WAITING,
                waits=("approve",),
                waiting_for=(
                    Waiting("approval", "approve", "approve", "person", "Enterprise plan?", DECISION, expires_at=NOW),
                ),
            ),
        ),
    ],
    ids=["running", "joined", "done", "result", "left out", "paused", "failed", "cancelled", "approval"],
)
def test_each_kind_of_result_costs_few_tokens(most: int, run: Any) -> None:
    told = run_object(run, Telling(NOW))
    assert tokens(text_of(answer(told))) <= most


def test_a_list_of_runs_costs_few_tokens_a_line() -> None:
    assert tokens(run_line(view(RunStatus.RUNNING, created_at=STARTED), NOW)) <= 31
    assert tokens(run_line(view(RunStatus.PAUSED, error=refused_booking(), created_at=STARTED), NOW)) <= 53


def test_what_a_search_finds_costs_little_more_than_the_schemas_that_it_tells() -> None:
    found = {name: definition(name) for name in ("onboard_a", "onboard_b", "onboard_c")}
    schemas = sum(tokens(one.input_schema) for one in found.values())
    assert tokens(text_of(find(found, "onboard"))) - schemas <= 139
