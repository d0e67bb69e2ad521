"""A run as a task of the tasks extension: its status there, and what it asks of the client."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from mcp_workflows.asking.waiting import Waiting
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.mcp_server.people.forms import question, standstill
from mcp_workflows.mcp_server.people.person import may_answer, request_of
from mcp_workflows.mcp_server.views.next_step import next_step
from mcp_workflows.mcp_server.views.wording import clean, cut
from mcp_workflows.runtime.views import RunView

_POLL_MS: Final = 1000
_POLL_WAITING_MS: Final = 5000
"""Of a run that waits for somebody."""
_LONGEST_MESSAGE: Final = 300
_ENDED: Final = {
    RunStatus.COMPLETED: "completed",
    RunStatus.FAILED: "completed",
    RunStatus.COMPENSATED: "completed",
    RunStatus.CANCELLED: "cancelled",
}
"""A run that failed has a result that says so; ``failed`` is for requests that the protocol could not serve."""


def task_object(view: RunView, changed_at: datetime, asked: Mapping[str, Waiting | None]) -> dict[str, Any]:
    """The task, without its result. ``asked``: what the client is to ask, as of ``asked_of``."""
    status = _ENDED.get(view.status, "input_required" if asked else "working")
    told: dict[str, Any] = {"taskId": view.run_id, "status": status}
    if (message := _message(view, changed_at)) is not None:
        told["statusMessage"] = cut(clean(message), _LONGEST_MESSAGE)
    told |= {"createdAt": _instant(view.created_at), "lastUpdatedAt": _instant(changed_at), "ttlMs": None}
    if not view.status.finished:
        somebody = view.waiting_for or view.status is RunStatus.PAUSED
        told["pollIntervalMs"] = _POLL_WAITING_MS if somebody else _POLL_MS
    if asked:
        told["inputRequests"] = {key: _request(view, wait) for key, wait in asked.items()}
    return told


def asked_of(view: RunView, actor: str, now: datetime) -> dict[str, Waiting | None]:
    """What the run needs and ``actor`` may give, by a key never used again. ``None``: how it goes on from its standstill.

    Of several waits for the same signal only the first: it takes the next one that comes.
    """
    if view.status is RunStatus.PAUSED:
        return {standstill(view).key: None}
    different: dict[tuple[str, str], Waiting] = {}
    for wait in view.waiting_for:
        if may_answer(wait, actor) and (wait.expires_at is None or wait.expires_at > now):
            different.setdefault((wait.kind, wait.name), wait)
    return {wait.key: wait for wait in different.values()}


def same_task(told: Mapping[str, Any], before: Mapping[str, Any] | None) -> bool:
    """As far as anybody would care."""
    return before is not None and {**told, "lastUpdatedAt": None} == {**before, "lastUpdatedAt": None}


def _request(view: RunView, wait: Waiting | None) -> dict[str, Any]:
    asked = standstill(view) if wait is None else question(view, wait)
    return request_of(asked).model_dump(by_alias=True, mode="json", exclude_none=True)


def _message(view: RunView, now: datetime) -> str | None:
    """For whoever looks at the task: clients show it to people, if to anybody."""
    if view.waiting_for:
        first = view.waiting_for[0]
        who = f" (by {', '.join(first.approvers[:3])})" if first.approvers else ""
        return f"Waits for {first.name}{who}: {first.message or first.kind}"
    if view.error is not None:
        return f"{view.error.step}: {view.error.message}" if view.error.step else view.error.message
    if view.status is RunStatus.CANCELLED:
        return next_step(view, now)
    if view.progress is not None and not view.status.finished:
        running = f", now {', '.join(view.progress.running[:3])}" if view.progress.running else ""
        return f"{view.progress.completed} steps done{running}"
    return None


def _instant(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
