"""The run object: a ``RunView`` as a model gets it. What is absent is left out, and nothing in it grows without bound."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import cast

from mcp_workflows.asking.resuming import correctable
from mcp_workflows.definition.program import Json
from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.mcp_server.views.next_step import next_step
from mcp_workflows.mcp_server.views.selection import member_path
from mcp_workflows.mcp_server.views.shape import shape_of, size_of
from mcp_workflows.mcp_server.views.uris import result_uri
from mcp_workflows.mcp_server.views.waits import NOT_HERE, Ways, waits_object
from mcp_workflows.mcp_server.views.wording import age, cut
from mcp_workflows.runtime.views import RunView

LARGEST_RESULT = 16 * 1024
"""Bytes of JSON. A larger result is left out whole, not cut: a cut one would break the tool's output schema."""

_LONGEST_MESSAGE = 500
_WAITS_OF_A_LINE = 3
_NAMED = 20
"""How many steps are named that were undone, were not, or stay."""
_RETRYING = 3
_LARGEST_REQUEST = 2 * 1024
_UNDER_WAY = frozenset({RunStatus.PENDING, RunStatus.RUNNING, RunStatus.WAITING, RunStatus.COMPENSATING})


@dataclass(frozen=True, slots=True)
class Telling:
    """How a run is told: ``named`` with workflow and version, ``by_key`` to a caller that gave an idempotency key."""

    now: datetime
    named: bool = False
    by_key: bool = False
    next: str | None = None
    """Said in place of the usual sentence."""
    ways: Ways = NOT_HERE
    """How a person can answer."""


def run_object(view: RunView, telling: Telling) -> dict[str, Json]:
    """At most about 20 KiB of JSON, whatever the run holds."""
    told: dict[str, Json] = {"run_id": view.run_id}
    if telling.named:
        told |= {"workflow": view.workflow, "version": view.version}
    told["status"] = str(view.status)
    if view.joined:
        told["joined"] = True
    following = telling.next or next_step(view, telling.now, by_key=telling.by_key, ways=telling.ways)
    if view.status is RunStatus.COMPLETED and view.result is not None:
        told |= result_of(view)
        following = _read_a_part(view.result, following) if "result_omitted" in told else following
    if view.error is not None:
        told["error"] = error_object(view.error, retry_helps=view.retry_helps)
    if view.waiting_for:
        told |= waits_object(view, telling.ways)
    told |= _course(view)
    if following:
        told["next"] = following
    return told


def run_line(view: RunView, now: datetime) -> dict[str, Json]:
    """One run of a list: what tells it apart from others, and whether it needs anything."""
    line: dict[str, Json] = {
        "run_id": view.run_id,
        "workflow": view.workflow,
        "version": view.version,
        "status": str(view.status),
        "age": age((now - view.created_at).total_seconds()),
    }
    if view.idempotency_key is not None:
        line["idempotency_key"] = view.idempotency_key
    if view.waits:
        line["waiting_for"] = list(view.waits[:_WAITS_OF_A_LINE])
    if view.error is not None:
        step = f"{view.error.step}: " if view.error.step else ""
        line["error"] = cut(f"{step}{view.error.message}", 120)
    return line


def error_object(error: StepError, *, retry_helps: bool) -> dict[str, Json]:
    """Why it failed, with the part of the request that a correction can change."""
    told: dict[str, Json] = {"step": error.step} if error.step else {}
    told |= {"code": error.code, "in_doubt": error.in_doubt, "message": cut(error.message, _LONGEST_MESSAGE)}
    if error.details is not None:
        told["details"] = _bounded(error.details)
    if error.attempts:  # what only computes makes none
        told["attempts"] = error.attempts
    told["retry_helps"] = retry_helps
    if request := correctable(error.request):
        told["request"] = _bounded(request)
    return told


def result_of(view: RunView) -> dict[str, Json]:
    """The result, or what there is to know of one that is too large."""
    if size_of(view.result) <= LARGEST_RESULT:
        return {"result": view.result}
    return {"result_omitted": omitted(view.run_id, view.result)}


def omitted(run_id: str, result: Json) -> dict[str, Json]:
    """Of a result that is left out: its size and shape, and where a host can read it whole."""
    return {"bytes": size_of(result), "shape": shape_of(result), "resource": result_uri(run_id)}


def _course(view: RunView) -> dict[str, Json]:
    told: dict[str, Json] = {}
    only_asked = view.status is RunStatus.WAITING and view.waiting_for
    if view.status in _UNDER_WAY and view.progress is not None and not only_asked:
        running = {"running": list(view.progress.running[:10])} if view.progress.running else {}
        again = [{"step": step, "error": cut(why, 200)} for step, why in view.progress.retrying[:_RETRYING]]
        told["progress"] = {"completed": view.progress.completed, **running, **({"retrying": again} if again else {})}
    if view.compensation is not None and view.compensation != "none":
        told["compensation"] = view.compensation
    if view.undone:
        told["undone"] = list(view.undone[:_NAMED])
    if view.not_undone:
        told["not_undone"] = [{"step": one.path, "error": cut(one.why, 200)} for one in view.not_undone[:_NAMED]]
    if view.stays:
        told["stays"] = list(view.stays[:_NAMED])
    for name, steps in (("undone", view.undone), ("not_undone", view.not_undone), ("stays", view.stays or ())):
        if len(steps) > _NAMED:
            told[f"{name}_omitted"] = len(steps) - _NAMED
    return told


def _read_a_part(result: Json, following: str | None) -> str:
    said = f"Read a part: get_run with select {largest_part(result)}."
    return f"{following} {said}" if following else said


def largest_part(result: Json) -> str:
    """The selection to begin with: the first page of the longest list there is, near the top."""
    if isinstance(result, list):
        return "result[0:20]"
    if isinstance(result, str):
        return "result[0:8000]"
    members = cast("dict[str, Json]", result)
    name = max(members, key=lambda key: size_of(members[key]))
    path = member_path("result", name)
    match members[name]:
        case list():
            return f"{path}[0:20]"
        case str():
            return f"{path}[0:8000]"
        case _:
            return path


def _bounded(value: Json) -> Json:
    return value if size_of(value) <= _LARGEST_REQUEST else f"left out: {size_of(value)} bytes, {shape_of(value)}"
