"""What is served at one moment: the definitions, their tools, and the check of results against what the tools promise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mcp_workflows.definition.program import Definition, Json
from mcp_workflows.definition.violations import violations
from mcp_workflows.mcp_server.tools.built_in import Offered
from mcp_workflows.mcp_server.tools.discovery import MAX_TOOLS, START, shown, tools_among
from mcp_workflows.mcp_server.tools.workflow_tools import workflow_tool


class Toolbox:
    """Made anew whenever the definitions change; ``tools`` is what ``tools/list`` answers: workflows by name, then the rest.

    ``definitions`` are the workflows that agents may know of. ``searching``: the tools that come before those ``built_in``
    where some workflows are no tools.
    """

    def __init__(
        self, definitions: Mapping[str, Definition], *, max_tools: int = MAX_TOOLS,
        built_in: Sequence[Offered] = (), searching: Sequence[Offered] = (),
    ) -> None:  # fmt: skip
        self.definitions = shown(definitions)
        own = {name: workflow_tool(one) for name, one in tools_among(self.definitions, max_tools).items()}
        self._outputs = {name: tool.output_schema or {} for name, tool in own.items()}
        self.searched = len(own) < len(self.definitions)
        """Some workflows are no tools, and have to be found."""
        self._built_in = {one.tool.name: one for one in (*(searching if self.searched else ()), *built_in)}
        self.tools = [*own.values(), *(one.tool for one in self._built_in.values())]
        self.names = [tool.name for tool in self.tools]
        self._inputs = {tool.name: tool.input_schema for tool in self.tools}

    def definition(self, name: str) -> Definition | None:
        """The workflow that the tool of this name starts, or would if it were listed."""
        return self.definitions.get(name)

    def built_in(self, name: str) -> Offered | None:
        """The tool of this name that is no workflow."""
        return self._built_in.get(name)

    def input_schema(self, name: str) -> Mapping[str, Json] | None:
        """Of the listed tool of this name."""
        return self._inputs.get(name)

    def how_to_start(self, name: str) -> str:
        """A sentence for whoever has found out about the workflow otherwise than by its tool."""
        return f"Start it with the tool {name}." if name in self._outputs else f"Start it with {START}, name {name}."

    def same_tools(self, other: Toolbox) -> bool:
        return self.tools == other.tools

    def same_workflows(self, other: Toolbox) -> bool:
        """As far as the list of resources tells them."""
        return _told(self.definitions) == _told(other.definitions)

    def misfit(self, name: str, told: Mapping[str, Json]) -> str | None:
        """Why this answer breaks the tool's output schema, if it does: a client would throw such an answer away."""
        definition = self.definitions.get(name)
        if definition is None or definition.output_schema is None or "result" not in told or name not in self._outputs:
            return None
        wrong = violations(self._outputs[name], told)
        return wrong[0].removesuffix(".") if wrong else None


def _told(definitions: Mapping[str, Definition]) -> list[tuple[str, str | None, str]]:
    return [(name, one.title, one.description) for name, one in definitions.items()]


ToolboxNow = Callable[[], Toolbox]
"""The one of this moment."""
