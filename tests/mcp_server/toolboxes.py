"""Toolboxes for tests that look at what is published, and call nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mcp import Client
from mcp_types import Tool

from mcp_workflows.definition.program import Definition
from mcp_workflows.mcp_server.authoring.toolset import AUTHORING_TOOLS
from mcp_workflows.mcp_server.tools.built_in import BuiltIn, Offered
from mcp_workflows.mcp_server.tools.discovery import DISCOVERY_TOOLS
from mcp_workflows.mcp_server.tools.run_tools import RUN_TOOLS
from mcp_workflows.mcp_server.tools.toolbox import Toolbox

FOLLOWING: tuple[Tool, ...] = tuple(one.tool for one in RUN_TOOLS)
SEARCHING: tuple[Tool, ...] = tuple(one.tool for one in DISCOVERY_TOOLS)
AUTHORING: tuple[Tool, ...] = tuple(one.tool for one in AUTHORING_TOOLS)
RUN_NAMES = ["get_run", "list_runs", "signal_run", "resume_run", "cancel_run"]
ACCOUNT = {"type": "object", "properties": {"account_id": {"type": "string"}}, "required": ["account_id"]}


def toolbox(definitions: Mapping[str, Definition]) -> Toolbox:
    """What is served of these definitions where authoring is off."""
    return Toolbox(definitions, built_in=_unanswered(RUN_TOOLS), searching=_unanswered(DISCOVERY_TOOLS))


def _unanswered(tools: Iterable[BuiltIn[Any]]) -> list[Offered]:
    async def call(*_given: object) -> Any:
        raise AssertionError("this server is only looked at")

    return [Offered(one.tool, call) for one in tools]


async def names_of(client: Client) -> list[str]:
    return [tool.name for tool in (await client.list_tools()).tools]


def definition(name: str = "onboard_customer", **fields: Any) -> Definition:
    given: dict[str, Any] = {
        "name": name,
        "title": "Onboard a customer",
        "description": (
            "Creates the account, charges the first invoice and sends the welcome mail. "
            "Undoes everything if any part fails."
        ),
        "content": "{}",
        "digest": "d",
        "input_schema": {
            "type": "object",
            "properties": {
                "email": {"type": "string", "format": "email"},
                "plan": {"type": "string", "enum": ["free", "pro", "enterprise"]},
                "note": {"type": "string"},
            },
            "required": ["email", "plan"],
            "additionalProperties": False,
        },
        "output_schema": ACCOUNT,
        "vars": {},
        "secrets": (),
        "steps": (),
        "output": None,
    }
    return Definition(**given | fields)


def wire(tool: Tool) -> dict[str, Any]:
    return tool.model_dump(by_alias=True, mode="json", exclude_none=True)
