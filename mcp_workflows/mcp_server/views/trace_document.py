"""Steps and the whole trace as JSON, for ``select`` and as a resource: here instants are told, which run objects leave out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from mcp_workflows.definition.program import Json
from mcp_workflows.engine.records import AttemptRecord, StepRecord
from mcp_workflows.mcp_server.views.shape import shape_of, size_of
from mcp_workflows.mcp_server.views.wording import cut, instant
from mcp_workflows.runtime.tree import Branch, tree
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
    if step.decision is not None:
        told["decided"] = {name: value for name, value in step.decision.items() if name not in _LARGE}
    failed = [_attempt(attempt) for attempt in attempts if attempt.path == step.path]
    if failed:
        told["failed_attempts"] = failed
    return told


_LARGE = frozenset({"items", "state"})
"""Decisions of loops, which are as large as what they loop over."""


def _steps(branches: Sequence[Branch], attempts: Mapping[str, Sequence[AttemptRecord]]) -> list[dict[str, Json]]:
    told: list[dict[str, Json]] = []
    for branch in branches:
        one: dict[str, Json] = {"path": branch.path, "status": str(branch.status)}
        if branch.row is not None:
            one = step_whole(branch.row, attempts.get(branch.path, ()))
        if branch.inner:
            one["steps"] = _steps(branch.inner, attempts)
        if branch.left_out:
            one["left_out"] = {str(status): count for status, count in branch.left_out.items()}
        told.append(one)
    return told


def _by_path(attempts: Sequence[AttemptRecord]) -> dict[str, list[AttemptRecord]]:
    found: dict[str, list[AttemptRecord]] = {}
    for attempt in attempts:
        found.setdefault(attempt.path, []).append(attempt)
    return found


def trace_whole(trace: Trace) -> dict[str, Json]:
    """The run, its steps below what they stand in, and what it was told by whom. Of long loops only a few items are told."""
    run = trace.run
    told: dict[str, Json] = {
        "run_id": run.run_id,
        "workflow": run.workflow,
        "version": run.version,
        "status": str(run.status),
        "actor": run.actor,
        **_instants(created_at=run.created_at, started_at=run.started_at, finished_at=run.finished_at),
        "input": run.input,
        "steps": _steps(tree(trace.steps), _by_path(trace.attempts)),
    }
    if trace.messages:
        told["messages"] = [
            {"kind": message.kind, "actor": message.actor, **_instants(received_at=message.received_at)}
            | ({"reason": message.reason} if message.reason else {})
            | ({"body": message.body} if message.body else {})
            for message in trace.messages
        ]
    return told


LARGEST_TRACE = 256 * 1024
"""Bytes of JSON of a trace that is read at once."""
_LARGEST_VALUE = 2 * 1024
_STEPS = 300
"""Steps that are told of a trace that would be too large otherwise: the last ones."""


def trace_bounded(trace: Trace) -> dict[str, Json]:
    """As ``trace_whole``; where that is larger than ``LARGEST_TRACE``, large values and then early steps give way.

    Each of them can be read with get_run.
    """
    whole = trace_whole(trace)
    if size_of(whole) <= LARGEST_TRACE:
        return whole
    told = {name: value for name, value in whole.items() if name not in ("steps", "messages")}
    told["input"] = small(told["input"])
    lines = [step_line(step) for step in trace.steps]
    told["steps"] = lines[-_STEPS:]
    told["omitted"] = (
        "It is too large to be told whole. get_run with select steps.PATH gives one step, input the input."
    )
    if len(lines) > _STEPS:
        told["steps_omitted"] = len(lines) - _STEPS
    if messages := whole.get("messages"):
        kept: list[dict[str, Json]] = messages[-_STEPS:]
        told["messages"] = [{name: small(value) for name, value in message.items()} for message in kept]
    return told


def small(value: Json) -> Json:
    """The value, or what there is to know of one that is large."""
    size = size_of(value)
    return value if size <= _LARGEST_VALUE else f"left out: {size} bytes, {shape_of(value)}"


def _attempt(attempt: AttemptRecord) -> dict[str, Json]:
    instants = _instants(started_at=attempt.started_at, finished_at=attempt.finished_at)
    return {"number": attempt.number, "error": attempt.error.to_json(), **instants}


def _instants(**named: datetime | None) -> dict[str, Json]:
    return {name: instant(when) for name, when in named.items() if when is not None}
