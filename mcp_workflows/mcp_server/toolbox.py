"""What is served at one moment: the definitions, their tools, and the check of results against what the tools promise."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mcp_workflows.definition.program import Definition, Json
from mcp_workflows.definition.violations import violations
from mcp_workflows.mcp_server.tools import tool_list


class Toolbox:
    """Made anew whenever the definitions change; ``tools`` is what ``tools/list`` answers.

    ``definitions`` are the workflows that agents may know of.
    """

    def __init__(self, definitions: Mapping[str, Definition]) -> None:
        self.definitions = {name: d for name, d in definitions.items() if d.mcp.expose == "tool"}
        self.tools = tool_list(definitions)
        self.names = [tool.name for tool in self.tools]

    def definition(self, name: str) -> Definition | None:
        """The workflow that the tool of this name starts."""
        return self.definitions.get(name)

    def how_to_start(self, name: str) -> str:
        """A sentence for whoever has found out about the workflow otherwise than by its tool."""
        return f"Start it with the tool {name}."

    def same_tools(self, other: Toolbox) -> bool:
        return self.tools == other.tools

    def misfit(self, name: str, told: Mapping[str, Json]) -> str | None:
        """Why this answer breaks the tool's output schema, if it does: a client would throw such an answer away."""
        definition = self.definitions.get(name)
        if definition is None or definition.output_schema is None or "result" not in told:
            return None
        schema = next(tool.output_schema for tool in self.tools if tool.name == name)
        wrong = violations(schema or {}, told)
        return wrong[0].removesuffix(".") if wrong else None


ToolboxNow = Callable[[], Toolbox]
"""The one of this moment."""
