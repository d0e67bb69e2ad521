"""Steps and the whole trace as JSON, for ``select``: here instants are told, which run objects leave out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from mcp_workflows.definition.program import Json
from mcp_workflows.engine.records import AttemptRecord, StepRecord
from mcp_workflows.mcp_server.wording import cut, instant
from mcp_workflows.runtime.views import Trace


def step_line(step: StepRecord) -> dict[str, Json]:
    """One step without its output, which may be large: read that with ``steps.<path>.output``."""
    told: dict[str, Json] = {"path": step.path, "kind": step.kind, "status": str(step.status)}
    if attempts := step.attempts + step.attempts_before:
        told["attempts"] = attempts
    if step.error is not None:
        told["error"] = cut(f"{step.error.code}: {step.error.message}", 200)
    told |= _instants(started_at=step.started_at, due_at=step.due_at, finished_at=step.finished_at)
    return told


def step_whole(step: StepRecord, attempts: Sequence[AttemptRecord]) -> dict[str, Json]:
    """All that is recorded of one step, its failed attempts too."""
    told = step_line(step)
    if step.status.has_output:
        told["output"] = step.output
    if step.error is not None:
        told["error"] = step.error.to_json()
    if step.correction is not None:
        told["correction"] = step.correction
    failed = [_attempt(attempt) for attempt in attempts if attempt.path == step.path]
    if failed:
        told["failed_attempts"] = failed
    return told


def trace_whole(trace: Trace) -> dict[str, Json]:
    """The run, its steps in the order in which they were settled, and what it was told by whom."""
    run = trace.run
    told: dict[str, Json] = {
        "run_id": run.run_id,
        "workflow": run.workflow,
        "version": run.version,
        "status": str(run.status),
        "actor": run.actor,
        **_instants(created_at=run.created_at, started_at=run.started_at, finished_at=run.finished_at),
        "input": run.input,
        "steps": [step_whole(step, trace.attempts) for step in trace.steps],
    }
    if trace.messages:
        told["messages"] = [
            {"kind": message.kind, "actor": message.actor, **_instants(received_at=message.received_at)}
            | ({"reason": message.reason} if message.reason else {})
            | ({"body": message.body} if message.body else {})
            for message in trace.messages
        ]
    return told


def _attempt(attempt: AttemptRecord) -> dict[str, Json]:
    instants = _instants(started_at=attempt.started_at, finished_at=attempt.finished_at)
    return {"number": attempt.number, "error": attempt.error.to_json(), **instants}


def _instants(**named: datetime | None) -> dict[str, Json]:
    return {name: instant(when) for name, when in named.items() if when is not None}
