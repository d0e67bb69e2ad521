"""The tools: one per workflow, and those that follow runs.

Descriptions are static and the order is stable: a changing list throws away what clients have cached of their prompts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from mcp_types import Tool, ToolAnnotations

from mcp_workflows.definition.program import Definition, Json
from mcp_workflows.mcp_server.views.next_step import LONGEST_WAIT

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


_RUN_ID: Json = {"type": "string"}

RUN_TOOLS: tuple[Tool, ...] = (
    Tool(
        name="get_run",
        description="State of a run, its result when it has one. Waits until it ends or needs something.",
        input_schema={
            "type": "object",
            "properties": {
                "run_id": _RUN_ID,
                "wait_seconds": {"type": "integer", "minimum": 0, "maximum": LONGEST_WAIT, "default": 0},
                "select": {
                    "type": "string",
                    "description": "Only this part, e.g. result.items[0:20], input, error, steps, steps.charge.output",
                },
            },
            "required": ["run_id"],
            "additionalProperties": False,
        },
        annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False),
    ),
    Tool(
        name="list_runs",
        description=(
            "Runs, newest first; without arguments your own that are not finished. Use it when you lost a run_id."
        ),
        input_schema={
            "type": "object",
            "properties": {
                "workflow": {"type": "string"},
                "status": {
                    "type": "string",
                    "enum": ["open", "needs_input", "paused", "completed", "failed", "cancelled", "any"],
                    "default": "open",
                },
                "idempotency_key": {"type": "string"},
                "since": {"type": "string", "description": "ISO time or 30m, 2h, 7d"},
                "mine": {"type": "boolean", "default": True},
                "limit": {"type": "integer", "minimum": 1, "default": 10, "maximum": 50},
                "cursor": {"type": "string"},
            },
            "additionalProperties": False,
        },
        annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False),
    ),
    Tool(
        name="signal_run",
        description=(
            "Answers what a run waits for (see waiting_for: name and schema). Approvals by a person are refused here."
        ),
        input_schema={
            "type": "object",
            "properties": {"run_id": _RUN_ID, "name": {"type": "string"}, "data": {"type": "object"}},
            "required": ["run_id", "name"],
            "additionalProperties": False,
        },
        annotations=ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True),
    ),
    Tool(
        name="resume_run",
        description=(
            "Goes on from the failed step of a run that is paused, or failed with nothing undone; what is completed "
            "is kept. Of a failed run whose compensation is incomplete it tries the undoing again. Without a "
            "correction it tries the same again."
        ),
        input_schema={
            "type": "object",
            "properties": {
                "run_id": _RUN_ID,
                "input": {"type": "object", "description": "Corrections merged into the run's input"},
                "request": {
                    "type": "object",
                    "description": "Corrections merged into the failed step's body, query or arguments",
                },
                "output": {"description": "Taken as the failed step's output; it is not run"},
                "skip": {"type": "boolean", "description": "Leave the failed step out"},
                "again": {
                    "type": "boolean",
                    "description": "Only for a step that must run at most once and was cut off: make it again",
                },
                "reason": {"type": "string"},
            },
            "required": ["run_id"],
            "additionalProperties": False,
        },
        annotations=ToolAnnotations(read_only_hint=False, destructive_hint=True),
    ),
    Tool(
        name="cancel_run",
        description="Stops a run and undoes its completed steps.",
        input_schema={
            "type": "object",
            "properties": {
                "run_id": _RUN_ID,
                "compensate": {"type": "boolean", "default": True},
                "reason": {"type": "string"},
            },
            "required": ["run_id"],
            "additionalProperties": False,
        },
        annotations=ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True),
    ),
)
