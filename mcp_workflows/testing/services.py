"""What stands in the place of services, functions and other servers: a test's answers."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from mcp_workflows.definition.expressions import ExpressionFailed
from mcp_workflows.definition.program import HttpWork, Json, Step
from mcp_workflows.engine.outcome import StepCall
from mcp_workflows.steps.attempt import Attempt, cut
from mcp_workflows.testing.answers import Cast, outcome
from mcp_workflows.testing.outline import Outline
from mcp_workflows.testing.requests import NotSent, rendered
from mcp_workflows.testing.result import Call, TestBroken
from mcp_workflows.testing.simulation import Ended


class Services:
    """Answers every attempt of one simulated run."""

    def __init__(self, outline: Outline, cast: Cast, starts_at: datetime) -> None:
        self._outline = outline
        self._cast = cast
        self._starts_at = starts_at

    def respond(self, attempt: Attempt, now: datetime) -> Ended:
        """Raises ``TestBroken`` where the test has no answer."""
        call = attempt.call
        step = self._outline.step_at(call.path)
        try:
            request = rendered(attempt)
        except NotSent as not_sent:
            return Ended(not_sent.failed, None)
        scripted = self._cast.next(Call(call.path, call.attempt, request, now - self._starts_at))
        if scripted is None:
            raise TestBroken(_unanswered(step, call, attempt.label, request), call.path)
        seconds = scripted.answer.takes or 0.0
        if scripted.answer.crash:
            return Ended(None, request, seconds)
        limit = _limit(call)
        if limit is not None and seconds > limit:
            late = attempt.failed(
                "timeout",
                f"{attempt.label} took longer than {limit:g} s",
                in_doubt=step.has_effect,
                retryable=True,
            )
            return Ended(late, request, limit)
        try:
            return Ended(outcome(scripted, attempt, step, request, now + timedelta(seconds=seconds)), request, seconds)
        except ExpressionFailed as failure:
            raise TestBroken(f'the answer for "{call.path}" cannot be made: {failure}', call.path) from None


def _limit(call: StepCall) -> float | None:
    """Of work that goes on after its request the timeout covers the request only, and the answer is the last one."""
    work = call.work
    goes_on = isinstance(work, HttpWork) and (work.poll is not None or work.callback is not None)
    return None if goes_on else call.timeout


def _unanswered(step: Step, call: StepCall, label: str, request: Json) -> str:
    if isinstance(call.work, HttpWork):
        kind = call.work.body_kind
        body = f" with {cut(json.dumps(request[kind], ensure_ascii=False), 120)}" if kind and kind in request else ""
        asks = f"sends {label}{body}"
    else:
        asks = f"is {step.kind} with {cut(json.dumps(request, ensure_ascii=False), 120)}"
    name = step.id or call.path
    return f'"{call.path}" {asks}, and the test has no answer for it. Write one under steps, as {name}: {{output: …}}'
