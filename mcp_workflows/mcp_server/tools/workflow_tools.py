"""The tool that a workflow is published as: its description, schemas and annotations.

Descriptions are static: a changing list throws away what clients have cached of their prompts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from mcp_types import Tool, ToolAnnotations

from mcp_workflows.definition.program import Definition, Json

IDEMPOTENCY_KEY = "_idempotency_key"
"""The one reserved argument of a workflow's tool; an author's property cannot have this name."""

DURABLE = "Durable: follow it with get_run."
ASKS = "May ask a person for approval."

_ANY_RESULT: Json = {"description": "What the workflow gives."}
KEY_SCHEMA: Json = {"type": "string", "description": "Same key, same run. Set it only to repeat on purpose."}


def workflow_tool(definition: Definition) -> Tool:
    """The tool that starts this workflow."""
    sentences = [definition.description.strip(), DURABLE, ASKS if definition.asks_person else ""]
    return Tool(
        name=definition.name,
        title=definition.title,
        description=" ".join(filter(None, sentences)),
        input_schema=_input_schema(definition.input_schema),
        output_schema=_output_schema(definition.output_schema),
        annotations=_annotations(definition),
    )


def _input_schema(schema: Mapping[str, Json]) -> dict[str, Json]:
    properties = {**cast("Mapping[str, Json]", schema.get("properties", {})), IDEMPOTENCY_KEY: KEY_SCHEMA}
    return {**schema, "properties": properties}


def _output_schema(result: Mapping[str, Json] | None) -> dict[str, Json]:
    """The run object's, as far as every client needs it; more keys may follow, as none are forbidden.

    The author's schema moves below ``result``, so its ``$defs`` move to the top, where its references look for them.
    """
    inner = dict(result or _ANY_RESULT)
    definitions = {key: inner.pop(key) for key in ("$defs", "definitions") if key in inner}
    inner.pop("$schema", None)
    return {
        "type": "object",
        "properties": {
            "run_id": {"type": "string"},
            "status": {"type": "string"},
            "result": inner,
            "next": {"type": "string"},
        },
        "required": ["run_id", "status"],
        **definitions,
    }


def _annotations(definition: Definition) -> ToolAnnotations:
    joins = definition.mcp.join != "off" and not definition.read_only
    return ToolAnnotations(
        read_only_hint=definition.read_only,
        destructive_hint=definition.destructive,
        idempotent_hint=joins,
        open_world_hint=True,
    )
