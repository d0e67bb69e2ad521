"""``mcp_tool``: a tool of another MCP server."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mcp_workflows.definition.model.fields import Language, Maybe, ObjectOrExpression, PlainText, only_true


class McpTool(Language):
    """Calls a tool, or lists the tools that there are."""

    service: PlainText = Field(description="A service with mcp, declared under services.")
    tool: Maybe[PlainText] = Field(default=None, description="The tool's name.")
    arguments: Maybe[ObjectOrExpression] = Field(default=None)
    list_tools: Maybe[Annotated[Literal[True], only_true("mcp_tool", "list is true or left out")]] = Field(
        default=None, alias="list", description="true: the output is the list of the server's tools."
    )
