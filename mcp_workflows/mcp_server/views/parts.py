"""Answering ``select``: the run object gives way to the one part that was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import cast

from mcp_workflows.definition.program import Json
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.mcp_server.views.run_object import LARGEST_RESULT
from mcp_workflows.mcp_server.views.selection import Selected, member_path, select_from, step_path
from mcp_workflows.mcp_server.views.shape import shape_of, size_of
from mcp_workflows.mcp_server.views.trace_document import step_line, step_whole, trace_whole
from mcp_workflows.runtime.runs import Runs
from mcp_workflows.runtime.views import RunView, Trace

_NAMED = ("run_id", "workflow", "version", "status")


async def selected(
    runs: Runs, view: RunView, root: str, select: str, told: Mapping[str, Json], *, actor: str | None
) -> dict[str, Json]:
    """``told`` with the part in place of the rest; ``told`` as it is where the run has no such part yet.

    Raises:
        SelectRefused: The selection leads nowhere.
    """
    if (root == "result" and view.status is not RunStatus.COMPLETED) or (root == "error" and view.error is None):
        return dict(told)
    found = await _find(runs, view, root, select, actor)
    answer = {name: told[name] for name in _NAMED}
    size = size_of(found.value)
    if size > LARGEST_RESULT:
        answer["selected_omitted"] = {"bytes": size, "shape": shape_of(found.value)}
        answer["next"] = f"Read less of it: get_run with select {_smaller(select, found, size)}."
        return answer
    answer["selected"] = found.value
    if found.of is not None:
        answer["of"] = found.of
        end = found.start + len(found.value)
        if found.value and end < found.of:
            answer["next"] = f"For more: get_run with select {_unsliced(select)}[{end}:{end + len(found.value)}]."
    return answer


async def _find(runs: Runs, view: RunView, root: str, select: str, actor: str | None) -> Selected:
    if root not in ("steps", "trace"):
        value = {"result": view.result, "input": view.input}.get(root) if root != "error" else _error(view)
        return select_from(value, select.removeprefix(root), named=root)
    trace = await runs.trace(view.run_id, actor=actor)
    return await asyncio.to_thread(_find_in_trace, trace, root, select)  # a run may have many thousand steps


def _find_in_trace(trace: Trace, root: str, select: str) -> Selected:
    if root == "trace":
        return select_from(trace_whole(trace), select.removeprefix(root), named=root)
    if not select.startswith("steps."):
        lines = [step_line(step) for step in trace.steps]
        return select_from(lines, select.removeprefix(root), named=root)
    steps = {step.path: step for step in trace.steps}
    path, rest = step_path(select, list(steps))
    return select_from(step_whole(steps[path], trace.attempts), rest, named=f"steps.{path}")


def _error(view: RunView) -> Json:
    return None if view.error is None else view.error.to_json()


def _smaller(select: str, found: Selected, size: int) -> str:
    """A selection that fits, if the elements are about alike; else one that goes deeper."""
    value: Json = found.value
    if isinstance(value, list | str) and len(cast("list[Json] | str", value)) > 1:
        length = len(cast("list[Json] | str", value))
        fitting = max(length * LARGEST_RESULT // (size * 2), 1)
        return f"{_unsliced(select)}[{found.start}:{found.start + fitting}]"
    if isinstance(value, dict) and value:
        members = cast("dict[str, Json]", value)
        return member_path(select, max(members, key=lambda name: size_of(members[name])))
    return f"{select} and a name or an index after it"


def _unsliced(select: str) -> str:
    """Without the slice at its end."""
    return select[: select.rindex("[")] if select.endswith("]") and ":" in select[select.rindex("[") :] else select
