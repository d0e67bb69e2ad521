"""A workflow as a document for people and models: what it is for, what it takes and gives, and how it goes."""

from __future__ import annotations

import json
from collections.abc import Mapping

from mcp_workflows.definition.program import Definition, Json
from mcp_workflows.diagram import flowchart


def workflow_document(definition: Definition, version: int, tool: str) -> str:
    """Markdown. ``tool`` is the sentence that says how to start it."""
    parts = [
        f"# {definition.title or definition.name}",
        f"`{definition.name}`, version {version}. {tool}",
        definition.description.strip(),
        f"## Input\n\n{_block('json', _json(definition.input_schema))}",
    ]
    if definition.output_schema is not None:
        parts.append(f"## Result\n\n{_block('json', _json(definition.output_schema))}")
    parts.append(f"## Steps\n\n{_block('mermaid', flowchart(definition).rstrip())}")
    return "\n\n".join(filter(None, parts)) + "\n"


def _block(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"


def _json(schema: Mapping[str, Json]) -> str:
    """A schema that holds three back quotes must not end the block."""
    return json.dumps(dict(schema), indent=2, ensure_ascii=False).replace("```", "\\u0060\\u0060\\u0060")
