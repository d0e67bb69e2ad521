"""Runs as JSON for scripts: everything that is known, instants in ISO 8601, what is absent left out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from datetime import datetime
from enum import Enum
from typing import Any

from mcp_workflows.runtime.views import RunView, Trace, TraceMessage
from mcp_workflows.store import NodeRow


def run_json(view: RunView) -> dict[str, Any]:
    """One run. ``result`` is there as soon as the run is completed, ``null`` or not."""
    told = _filled(asdict(view))
    told["not_undone"] = [{"step": one.path, "error": one.why} for one in view.not_undone]
    if not view.not_undone:
        del told["not_undone"]
    if view.waiting_for:
        told["waiting_for"] = [_filled(asdict(wait)) for wait in view.waiting_for]
    if view.progress is not None:
        retrying = [{"step": step, "error": why} for step, why in view.progress.retrying]
        progress = {"completed": view.progress.completed, "running": list(view.progress.running)}
        told["progress"] = {**progress, **({"retrying": retrying} if retrying else {})}
    if view.error is not None:
        told["error"] = view.error.to_json()
    if view.status == "completed":
        told["result"] = view.result
    return told


def trace_json(trace: Trace) -> dict[str, Any]:
    """One run with its steps, its failed attempts and what it was told."""
    attempts = [{**_filled(asdict(attempt)), "error": attempt.error.to_json()} for attempt in trace.attempts]
    steps: list[dict[str, Any]] = []
    for step in trace.steps:
        told = _filled(step._asdict())
        if step.status.has_output:
            told["output"] = step.output
        if step.error is not None:
            told["error"] = step.error.to_json()
        told["failed_attempts"] = [_without_path(one) for one in attempts if one["path"] == step.path]
        steps.append(told)
    messages = [_message(message) for message in trace.messages]
    return {**run_json(trace.run), "steps": steps, "messages": messages}


def node_json(node: NodeRow, silent: Collection[str]) -> dict[str, Any]:
    """One process that moves runs, or did. ``state``: see ``state_of``. ``cannot``: what it leaves to others."""
    told = {**_filled(asdict(node)), "state": state_of(node, silent), "runs": node.runs}
    told.pop("report", None)
    if node.report is not None:
        told |= asdict(node.report)
        told["cannot"] = [unable._asdict() for unable in node.report.cannot]
    return told


def state_of(node: NodeRow, silent: Collection[str]) -> str:
    """Whether it is ``up``, went in good order (``left``), or ``died``; ``silent``: it is of those, and nobody knows yet."""
    if node.ended_at is None:
        return "silent" if node.node_id in silent else "up"
    return "died" if node.crashed else "left"


def _message(message: TraceMessage) -> dict[str, Any]:
    return _filled(asdict(message))


def _without_path(attempt: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attempt.items() if name != "path"}


def _filled(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in data.items() if value not in (None, (), [], False)}


def instant_json(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return instant_json(value)
        case Enum():
            return value.value
        case tuple():
            return list(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        case _:
            return value
