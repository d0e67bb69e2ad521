"""What a run asks of whoever sits at a client, each thing by a key that nothing else it asks ever has; and taking the answers.

This is for clients that are told what is asked and answer in their own time. They do not show the same thing twice: what was
answered in vain is asked again under another key, with why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from mcp_types import ElicitRequest, ElicitRequestURLParams

from mcp_workflows.asking.waiting import Waiting
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.errors import InputRefused, RunRefused
from mcp_workflows.mcp_server.people.forms import answered, decided, standstill
from mcp_workflows.mcp_server.people.person import may_answer
from mcp_workflows.mcp_server.people.screen import Screen, form_request
from mcp_workflows.mcp_server.views.refusals import LONGEST
from mcp_workflows.mcp_server.views.wording import cut
from mcp_workflows.runtime.runs import Runs
from mcp_workflows.runtime.views import Past, RunView

MAX_REFUSALS: Final = 10
"""How often what was answered in vain is asked again: a client that never learns is not asked for ever."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One thing that is asked. ``wait``: what an answer is for; ``None``: how a run that stands still goes on."""

    name: str
    """Of the question, however often it is put."""
    wait: Waiting | None
    request: ElicitRequest
    refusals: int
    """How many answers were not taken."""


def asked_of(view: RunView, past: Past, screen: Screen, person: str, now: datetime) -> dict[str, Asked]:
    """What the run needs and ``person`` may give on this ``screen``, by key. Of a run that had ended once, nothing.

    Of several waits for the same signal there is only the first: it takes the next one that comes.
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


async def take(
    runs: Runs, view: RunView, asked: Asked, content: Mapping[str, Any], *, actor: str | None, by: str, via: str
) -> str | None:
    """Do what the filled-in form says. The answer is why not, where that is not asked again either.

    That somebody else was faster, or the time is over, is nobody's fault; and that a page was opened decides nothing: it tells
    the run itself. Raises ``UnknownRun``, ``SystemUnwell``.
    """
    if isinstance(asked.request.params, ElicitRequestURLParams):
        return None
    try:
        if asked.wait is None:
            await _go_on(runs, view, content, actor=actor, by=by, via=via)
        else:
            data = answered(asked.wait, content)
            await runs.answer(view.run_id, asked.wait.key, data, actor=actor, by=by, via=via, person=True)
    except InputRefused as error:
        if asked.refusals >= MAX_REFUSALS:
            return str(error)
        why, number = cut(str(error), LONGEST), asked.refusals + 1
        await runs.refused(view.run_id, asked.name, why, actor=actor, by=by, via=via, number=number)
    except RunRefused:
        pass
    return None


async def _go_on(
    runs: Runs, view: RunView, content: Mapping[str, Any], *, actor: str | None, by: str, via: str
) -> None:
    """What was decided about a run that stands still. ``InputRefused``: it stands still yet, and can be decided otherwise."""
    said = decided(content)
    try:
        if said.action == "cancel":
            await runs.cancel(view.run_id, actor=actor, by=by, via=via, reason=said.reason)
            return
        await runs.resume(
            view.run_id, actor=actor, by=by, correction=said.correction, via=via, person=True, reason=said.reason
        )
    except RunRefused as refused:
        if (await runs.get(view.run_id, actor=actor)).status is not RunStatus.PAUSED:
            raise
        raise InputRefused(str(refused)) from None
