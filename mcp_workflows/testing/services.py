"""What stands in the place of services, functions, other servers and child runs: a test's answers."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from mcp_workflows.definition.expressions import ExpressionFailed
from mcp_workflows.definition.program import HttpWork, JqWork, Json, Step, WorkflowWork
from mcp_workflows.engine.outcome import ChildStart, Parked, StepCall
from mcp_workflows.engine.paths import COMPENSATE
from mcp_workflows.steps.attempt import Attempt, cut
from mcp_workflows.testing.answers import Cast, Scripted, content_of, outcome
from mcp_workflows.testing.filters import Filters
from mcp_workflows.testing.model import ErrorAnswer
from mcp_workflows.testing.outline import Outline
from mcp_workflows.testing.requests import NotSent, rendered
from mcp_workflows.testing.result import Call, TestBroken
from mcp_workflows.testing.simulation import ChildEnd, Ended


class Services:
    """Answers every attempt of one simulated run."""

    def __init__(self, outline: Outline, cast: Cast, filters: Filters, starts_at: datetime) -> None:
        self._outline = outline
        self._cast = cast
        self._filters = filters
        self._starts_at = starts_at

    def respond(self, attempt: Attempt, now: datetime) -> Ended:
        """Raises ``TestBroken`` where the test has no answer."""
        call = attempt.call
        step = self._outline.step_at(call.path)
        try:
            request = rendered(attempt)
        except NotSent as not_sent:
            return Ended(not_sent.failed, None)
        if isinstance(call.work, WorkflowWork) and call.work.detach:
            return Ended(_started(call.work, request), request)
        scripted = self._cast.next(Call(call.path, call.attempt, request, now - self._starts_at))
        if scripted is None and isinstance(call.work, JqWork):
            return Ended(self._filters.run(attempt), request)
        if scripted is None:
            raise TestBroken(_unanswered(step, call, attempt.label, request), call.path)
        if scripted.answer.crash:
            return Ended(None, request, scripted.answer.takes or 0.0)
        try:
            if isinstance(call.work, WorkflowWork):
                return Ended(_started(call.work, request), request, child=_child_end(scripted, call, request))
            return _ended(scripted, attempt, step, request, now)
        except ExpressionFailed as failure:
            raise TestBroken(f'the answer for "{call.path}" cannot be made: {failure}', call.path) from None

    def undo(self, path: str, now: datetime) -> ChildEnd:
        """A child undoes itself well unless the test says otherwise."""
        call = Call(path + COMPENSATE, 1, None, now - self._starts_at)
        scripted = self._cast.next(call)
        if scripted is None or scripted.answer.error is None:
            return ChildEnd("compensated", compensation="done")
        error = _error_of(scripted.answer.error)
        return ChildEnd("failed", error=error, compensation="incomplete", seconds=scripted.answer.takes or 0.0)


def _ended(scripted: Scripted, attempt: Attempt, step: Step, request: Json, now: datetime) -> Ended:
    seconds, limit = scripted.answer.takes or 0.0, _limit(attempt.call)
    if limit is not None and seconds > limit:
        message = f"{attempt.label} took longer than {limit:g} s"
        late = attempt.failed("timeout", message, in_doubt=step.has_effect, retryable=True)
        return Ended(late, request, limit)
    return Ended(outcome(scripted, attempt, step, request, now + timedelta(seconds=seconds)), request, seconds)


def _limit(call: StepCall) -> float | None:
    """Of work that goes on after its request the timeout covers the request only, and the answer is the last one."""
    work = call.work
    goes_on = isinstance(work, HttpWork) and (work.poll is not None or work.callback is not None)
    return None if goes_on else call.timeout


def _started(work: WorkflowWork, request: Json) -> Parked:
    return Parked(None, child=ChildStart(work.name, 1, 1, request["input"]))


def _child_end(scripted: Scripted, call: StepCall, request: Json) -> ChildEnd:
    answer = scripted.answer
    seconds = answer.takes or 0.0
    if answer.error is None:
        return ChildEnd("completed", content_of(scripted, call, request), seconds=seconds)
    in_doubt = isinstance(answer.error, ErrorAnswer) and answer.error.in_doubt
    undone = "incomplete" if in_doubt else "done"
    return ChildEnd("failed", error=_error_of(answer.error), compensation=undone, seconds=seconds)


def _error_of(error: ErrorAnswer | str) -> Json:
    """A child's error, as its parent is told of it."""
    if isinstance(error, str):
        return {"code": error, "message": f"it failed as the test says: {error}"}
    message = error.message or f"it failed as the test says: {error.code}"
    told = {"code": error.code, "message": message, "details": error.details}
    return {key: value for key, value in told.items() if value is not None}


def _unanswered(step: Step, call: StepCall, label: str, request: Json) -> str:
    if isinstance(call.work, HttpWork):
        kind = call.work.body_kind
        body = f" with {cut(json.dumps(request[kind], ensure_ascii=False), 120)}" if kind and kind in request else ""
        asks = f"sends {label}{body}"
    else:
        asks = f"is {step.kind} with {cut(json.dumps(request, ensure_ascii=False), 120)}"
    name = step.id or call.path
    return f'"{call.path}" {asks}, and the test has no answer for it. Write one under steps, as {name}: {{output: …}}'
