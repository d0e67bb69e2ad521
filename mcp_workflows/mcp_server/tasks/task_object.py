"""A run as a task of the tasks extension: its status there, and what it asks of the client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from mcp_types import ElicitRequest

from mcp_workflows.asking.waiting import Waiting
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.mcp_server.people.forms import standstill
from mcp_workflows.mcp_server.people.person import may_answer
from mcp_workflows.mcp_server.people.screen import Screen, form_request
from mcp_workflows.mcp_server.views.next_step import next_step
from mcp_workflows.mcp_server.views.wording import clean, cut
from mcp_workflows.runtime.views import Past, RunView

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


@dataclass(frozen=True, slots=True)
class Asked:
    """What a task asks of its client. ``wait``: what an answer is for; ``None``: how a run that stands still goes on."""

    name: str
    """Of the question, however often it is put."""
    wait: Waiting | None
    request: ElicitRequest
    refusals: int
    """How many answers were not taken."""


def task_object(view: RunView, past: Past, changed_at: datetime, asked: Mapping[str, Asked]) -> dict[str, Any]:
    """The task, without its result. ``asked``: what the client is to ask, as of ``asked_of``.

    A task that has ended stays so, also where its run was resumed and goes on: then the result says how far that is.
    """
    status = _ENDED.get(view.status) or ("completed" if past.ended else "input_required" if asked else "working")
    told: dict[str, Any] = {"taskId": view.run_id, "status": status}
    if (message := _message(view, changed_at)) is not None:
        told["statusMessage"] = cut(clean(message), _LONGEST_MESSAGE)
    told |= {"createdAt": _instant(view.created_at), "lastUpdatedAt": _instant(changed_at), "ttlMs": None}
    if not has_ended(told):
        somebody = view.waiting_for or view.status is RunStatus.PAUSED
        told["pollIntervalMs"] = _POLL_WAITING_MS if somebody else _POLL_MS
    if asked:
        requests = {key: one.request for key, one in asked.items()}
        told["inputRequests"] = {
            key: request.model_dump(by_alias=True, mode="json", exclude_none=True) for key, request in requests.items()
        }
    return told


def has_ended(told: Mapping[str, Any]) -> bool:
    return told["status"] in _ENDED.values()


def asked_of(view: RunView, past: Past, screen: Screen, person: str, now: datetime) -> dict[str, Asked]:
    """What the run needs and ``person`` may give on this ``screen``, by a key that no other request of the task ever has.

    What was answered in vain is asked again under another key, with why: clients do not show the same one twice. Of several
    waits for the same signal there is only the first: it takes the next one that comes.
    """
    if past.ended:
        return {}
    if view.status is RunStatus.PAUSED:
        return dict([_standstill(view, past)]) if screen.shows_forms else {}
    different: dict[tuple[str, str], Waiting] = {}
    for wait in view.waiting_for:
        open_ = wait.expires_at is None or wait.expires_at > now
        if may_answer(wait, person) and open_ and (screen.shows_forms or wait.kind == "approval"):
            different.setdefault((wait.kind, wait.name), wait)
    return dict(_question(view, past, screen, wait) for wait in different.values())


def _standstill(view: RunView, past: Past) -> tuple[str, Asked]:
    name = standstill(view).key
    refusals = past.refusals.get(name, ())
    request = form_request(standstill(view, refusals[-1] if refusals else None))
    return _key(name, refusals), Asked(name, None, request, len(refusals))


def _question(view: RunView, past: Past, screen: Screen, wait: Waiting) -> tuple[str, Asked]:
    refusals = past.refusals.get(wait.key, ())
    request = screen.request(view, wait, refusals[-1] if refusals else None)
    return _key(screen.key(view, wait), refusals), Asked(wait.key, wait, request, len(refusals))


def _key(name: str, refusals: Sequence[str]) -> str:
    return f"{name}~{len(refusals) + 1}" if refusals else name


def same_task(told: Mapping[str, Any], before: Mapping[str, Any] | None) -> bool:
    """As far as anybody would care."""
    return before is not None and {**told, "lastUpdatedAt": None} == {**before, "lastUpdatedAt": None}


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
