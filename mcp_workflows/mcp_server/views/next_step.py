"""The ``next`` sentence of a run object: what a model that sees this run should do now. Absent where nothing is to be done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import cast

from mcp_workflows.asking.resuming import correctable, left_to_person
from mcp_workflows.asking.waiting import Waiting
from mcp_workflows.definition.phrases import listed
from mcp_workflows.definition.program import Json
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.mcp_server.views.waits import NOT_HERE, Ways
from mcp_workflows.mcp_server.views.wording import age, ago, instant
from mcp_workflows.runtime.views import RunView

LONGEST_WAIT = 50
"""Seconds one call may wait: below the 60 s after which common clients give a call up."""

_NAMED = 5
_POLL = f"Call get_run with wait_seconds {LONGEST_WAIT}."
_WITH_CLIENT = "It goes on only while a server is up, and this one ends with its client."
_QUEUED = "Busy: the run is queued until a server has room for it, and begins by itself."


def next_step(view: RunView, now: datetime, *, by_key: bool = False, ways: Ways = NOT_HERE) -> str | None:
    """``by_key``: the caller gave an ``_idempotency_key``, so joining came from that. ``ways``: how a person can answer."""
    match view.status:
        case RunStatus.COMPLETED:
            return _joined(view, now, by_key) if view.joined else None
        case _ if view.stranded is not None and not view.waiting_for:
            return _stranded(view.stranded)
        case RunStatus.PENDING:
            return _with_joined(view, now, by_key, f"{_QUEUED} {_POLL}")
        case RunStatus.PAUSED:
            return _paused(view)
        case RunStatus.COMPENSATED:
            return f"It had completed, and was undone with the run that had started it.{_what_stays(view)}"
        case RunStatus.FAILED | RunStatus.CANCELLED:
            return _ended(view)
        case RunStatus.COMPENSATING if view.waiting_for:
            return f"What was completed is being undone. {_asked(view, ways)}"
        case RunStatus.COMPENSATING:
            return f"What was completed is being undone. {_POLL}"
        case _ if view.waiting_for:
            return _with_joined(view, now, by_key, _asked(view, ways))
        case RunStatus.WAITING if _far(view.wake_at, now):
            return _with_joined(view, now, by_key, _waiting(cast("datetime", view.wake_at), now, ways))
        case _:
            return _with_joined(
                view, now, by_key, _POLL if view.joined else f"{_POLL} You may do other things meanwhile."
            )


def nothing_to_cancel(view: RunView, now: datetime) -> str:
    """Of a cancel that came too late."""
    ended = "it has ended" if view.finished_at is None else f"it ended {ago(view.finished_at, now)}"
    return f"Nothing to cancel: {ended}."


def _joined(view: RunView, now: datetime, by_key: bool) -> str:
    if by_key:
        return f"This is the run started {ago(view.created_at, now)} with the same _idempotency_key."
    return (
        f"This is the run started {ago(view.created_at, now)} with the same input "
        "(for a second one set _idempotency_key)."
    )


def _with_joined(view: RunView, now: datetime, by_key: bool, sentence: str) -> str:
    return f"{_joined(view, now, by_key)} {sentence}" if view.joined else sentence


def _stranded(lacking: str) -> str:
    return f"No server that is up can go on with it: {lacking}. Tell the user; it goes on by itself once one can."


def _asked(view: RunView, ways: Ways) -> str:
    """Somebody must answer: who, and how; and what else it takes."""
    asked = _who_and_how(view.waiting_for, "command" if ways.links is None else "url")
    if view.stranded is not None:
        return f"{asked} {_stranded(view.stranded)}"
    return f"{asked} {_WITH_CLIENT}" if ways.ends_with_client else asked


def _who_and_how(waits: Sequence[Waiting], way: str) -> str:
    by = {wait.by for wait in waits}
    if by == {"person"}:
        return f"A person decides: give the user the {way}, then call get_run with wait_seconds {LONGEST_WAIT}."
    answer = "signal_run with name and data (see schema)"
    if by == {"anyone"}:
        return f"Answer with {answer}; or call get_run with wait_seconds {LONGEST_WAIT} until somebody else does."
    return (
        f'By "person": give the user the {way}; by "anyone": {answer}. '
        f"Then call get_run with wait_seconds {LONGEST_WAIT}."
    )


def _far(wake_at: datetime | None, now: datetime) -> bool:
    return wake_at is not None and wake_at - now > timedelta(seconds=LONGEST_WAIT)


def _waiting(wake_at: datetime, now: datetime, ways: Ways) -> str:
    left = age((wake_at - now).total_seconds())
    waiting = f"It goes on by itself at {instant(wake_at)} (in {left}). Call get_run then; nobody has to answer."
    return f"{waiting} {_WITH_CLIENT}" if ways.ends_with_client else waiting


def _paused(view: RunView) -> str:
    return f"{_sentence(_way_on(view))}; or cancel_run{_what_cancel_undoes(view)}."


def _way_on(view: RunView) -> str:
    error = view.error
    if error is None:
        return "resume_run goes on"
    step = error.step or "the step"
    if view.once_in_doubt:
        return (
            f"it is unknown whether {step} took place: find out, then resume_run with output {{…}} if it did "
            "or with again true to make it again"
        )
    if left_to_person(error):
        return "resume_run asks again"
    parts = _request(correctable(error.request))
    corrected = f"request {parts} or input {{…}} corrected" if parts else "input {…} corrected"
    if view.retry_helps:
        return f"resume_run tries {step} again, also with {corrected}"
    if parts:
        return f"resume_run with {corrected}"
    if error.step:
        return f"resume_run with {corrected} tries {step} again, with output {{…}} takes that for {step}"
    return f"resume_run goes on, also with {corrected}"


def _request(parts: Mapping[str, Json]) -> str:
    """The shape of a correction, as the caller would write it."""
    shown = [f'"{name}":{"{…}" if isinstance(part, Mapping) else "…"}' for name, part in parts.items()]
    return f"{{{','.join(shown)}}}" if shown else ""


def _what_cancel_undoes(view: RunView) -> str:
    stays = f" (what {_some(view.stays)} did stays)" if view.stays else ""
    if view.would_undo:
        return f", which undoes {_some(view.would_undo)}{stays}"
    return stays or " (there is nothing to undo)"


def _ended(view: RunView) -> str | None:
    if view.not_undone:
        return f"{_not_undone(view)}{_what_stays(view)}"
    if view.status is RunStatus.CANCELLED:
        return _what_stays(view).strip() or None
    if view.compensation == "done":
        whole = "Everything" if view.stays is not None and not view.stays else "All that has a compensation"
        return f"{whole} was undone.{_what_stays(view)} Start again with other input."
    return f"Nothing was undone.{_what_stays(view)} {_sentence(_way_on(view))}; or start again with other input."


def _not_undone(view: RunView) -> str:
    """Of what is known to be done the undoing may be tried again; of what may never have been done there is none."""
    left = [one.path for one in view.not_undone if not one.in_doubt]
    said: list[str] = []
    if left:
        still = f"{_some(left)} {'is' if len(left) == 1 else 'are'} still in effect: tell the user."
        again = "" if view.status is RunStatus.CANCELLED else "resume_run tries the undoing again. Until then "
        said.append(f"{again}{still}")
    if view.doubted:
        said.append(f"It is unknown whether {_some(view.doubted)} took place, and nothing undoes that: tell the user.")
    return " ".join(said)


def _what_stays(view: RunView) -> str:
    """Of the whole run, done for good: what nothing undoes."""
    return f" What {_some(view.stays)} did stays: tell the user." if view.stays else ""


def _some(steps: Sequence[str]) -> str:
    """The first of them, and how many more."""
    more = len(steps) - _NAMED
    return listed([*steps[:_NAMED], f"{more} more"] if more > 0 else steps)


def _sentence(text: str) -> str:
    """Begun with a capital, unless it begins with the name of a tool."""
    return text if text.startswith("resume_run") else text[:1].upper() + text[1:]
