"""The tools that follow runs, whatever their workflow: to look at them, to find them, to answer, resume and cancel them.

What each does is a method of ``Calls``.
"""

from __future__ import annotations

from mcp_types import Tool, ToolAnnotations

from mcp_workflows.access.principal import RUN
from mcp_workflows.definition.program import Json
from mcp_workflows.mcp_server.tools.built_in import BuiltIn, Right
from mcp_workflows.mcp_server.tools.calls import Calls
from mcp_workflows.mcp_server.views.next_step import LONGEST_WAIT

_RUN_ID: Json = {"type": "string"}

RUN_TOOLS: tuple[BuiltIn[Calls], ...] = (
    BuiltIn(
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
        Calls.get_run,
    ),
    BuiltIn(
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
        Calls.list_runs,
    ),
    BuiltIn(
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
        Calls.signal_run,
        Right(RUN, "answer runs"),
    ),
    BuiltIn(
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
        Calls.resume_run,
        Right(RUN, "resume runs"),
    ),
    BuiltIn(
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
        Calls.cancel_run,
        Right(RUN, "cancel runs"),
    ),
)
