"""The tool list: what clients and models are shown of workflows."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

from mcp_workflows.definition.model.fields import BUILT_IN_TOOLS
from mcp_workflows.definition.program import McpOptions
from mcp_workflows.mcp_server.tools.workflow_tools import workflow_tool
from tests.mcp_server.toolboxes import ACCOUNT, AUTHORING, FOLLOWING, SEARCHING, definition, toolbox, wire


def test_a_workflow_becomes_a_tool_of_its_name_with_one_reserved_argument() -> None:
    assert wire(workflow_tool(definition())) == {
        "name": "onboard_customer",
        "title": "Onboard a customer",
        "description": "Creates the account, charges the first invoice and sends the welcome mail. Undoes everything "
        "if any part fails. Durable: follow it with get_run.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "email": {"type": "string", "format": "email"},
                "plan": {"type": "string", "enum": ["free", "pro", "enterprise"]},
                "note": {"type": "string"},
                "_idempotency_key": {
                    "type": "string",
                    "description": "Same key, same run. Set it only to repeat on purpose.",
                },
            },
            "required": ["email", "plan"],
            "additionalProperties": False,
        },
        "outputSchema": {
            "type": "object",
            "properties": {
                "run_id": {"type": "string"},
                "status": {"type": "string"},
                "result": ACCOUNT,
                "next": {"type": "string"},
            },
            "required": ["run_id", "status"],
        },
        "annotations": {
            "readOnlyHint": False,
            "destructiveHint": False,
            "idempotentHint": True,
            "openWorldHint": True,
        },
    }


def test_the_annotations_say_what_the_workflow_does() -> None:
    reads = wire(workflow_tool(definition(read_only=True)))["annotations"]
    assert (reads["readOnlyHint"], reads["idempotentHint"]) == (True, False)
    deletes = wire(workflow_tool(definition(destructive=True)))["annotations"]
    assert deletes["destructiveHint"] is True
    never_joins = wire(workflow_tool(definition(mcp=McpOptions(join="off"))))["annotations"]
    assert never_joins["idempotentHint"] is False


def test_the_list_is_in_one_order_whatever_the_order_of_files() -> None:
    one, two = definition("a_first"), definition("b_second")
    names = toolbox({"b_second": two, "a_first": one}).names
    assert names == ["a_first", "b_second", "get_run", "list_runs", "signal_run", "resume_run", "cancel_run"]


def test_no_workflow_can_have_the_name_of_a_tool_that_is_built_in() -> None:
    assert {tool.name for tool in (*FOLLOWING, *SEARCHING, *AUTHORING)} == BUILT_IN_TOOLS


def test_a_workflow_can_be_kept_from_agents() -> None:
    hidden = definition("internal", mcp=McpOptions(expose="none"))
    served = toolbox({"internal": hidden})
    assert served.names == ["get_run", "list_runs", "signal_run", "resume_run", "cancel_run"]
    assert served.definition("internal") is None


def test_a_change_that_no_client_can_see_is_no_change_of_the_list() -> None:
    before = toolbox({"onboard_customer": definition()})
    assert toolbox({"onboard_customer": definition(digest="other steps")}).same_tools(before)
    assert not toolbox({"onboard_customer": definition(description="Another text.")}).same_tools(before)


def test_references_of_an_output_schema_still_lead_somewhere() -> None:
    schema = {"type": "object", "properties": {"id": {"$ref": "#/$defs/id"}}, "$defs": {"id": {"type": "string"}}}
    output = workflow_tool(definition(output_schema=schema)).output_schema
    assert output is not None
    validator: Any = Draft202012Validator(output)
    assert validator.is_valid({"run_id": "r_1", "status": "completed", "result": {"id": "a"}})
    assert not validator.is_valid({"run_id": "r_1", "status": "completed", "result": {"id": 7}})


def test_an_answer_that_breaks_the_promise_of_its_tool_is_noticed() -> None:
    served = toolbox({"onboard_customer": definition()})
    good = {"run_id": "r_1", "status": "completed", "result": {"account_id": "a"}}
    assert served.misfit("onboard_customer", good) is None
    assert served.misfit("onboard_customer", good | {"result": {"account_id": 7}}) == (
        "result.account_id: 7 is an integer, expected string"
    )
