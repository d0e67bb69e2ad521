"""The answers of a test, in the place of services: which one an attempt gets, and what outcome that is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from mcp_workflows.definition.expressions import ExpressionFailed, Template, Variables, compile_text
from mcp_workflows.definition.program import SAFE_METHODS, HttpWork, Json, Step
from mcp_workflows.engine.outcome import Completed, Outcome, StepCall
from mcp_workflows.steps import verdict
from mcp_workflows.steps.attempt import Attempt, Values
from mcp_workflows.testing.model import Answer, ErrorAnswer
from mcp_workflows.testing.outline import Key
from mcp_workflows.testing.result import Call, TestBroken

ROOTS = Variables.of("index", "attempt", "request")
"""What the texts of an answer may name."""
_LAST_INDEX = re.compile(r"\[(\d+)\][^\[]*$")
_NOTHING_SENT = frozenset({"connect"})
_NO_ANSWER = frozenset({"timeout", "reset"})


@dataclass(frozen=True, slots=True)
class Scripted:
    """An answer with its texts compiled."""

    answer: Answer
    content: Template
    """Its output or its body."""

    @classmethod
    def of(cls, answer: Answer) -> Scripted:
        """Raises ``ExpressionInvalid``."""
        given = answer.output if "output" in answer.model_fields_set else answer.body
        return cls(answer, _compiled(given))


@dataclass(frozen=True, slots=True)
class Script:
    """The answers for the steps that ``key`` names: one for all attempts, or one for each, in the order they are made."""

    key: Key
    answers: Sequence[Scripted] = ()
    repeats: bool = False
    own: bool = False
    """Of one test, not of all tests of the file."""
    function: Callable[[Call], Scripted] | None = None
    """Instead of ``answers``."""


class Cast:
    """All scripts of a test, and how far each has come."""

    def __init__(self, scripts: Sequence[Script]) -> None:
        """A test's own scripts count before those of all tests, then those that name a step by more indexes."""
        self._scripts = sorted(scripts, key=lambda script: (script.own, script.key.exactness))
        self._taken: dict[int, int] = {}

    def next(self, call: Call) -> Scripted | None:
        """The answer for this attempt, or ``None`` where nobody says anything of the step.

        Raises ``TestBroken`` where there are answers, and no more.
        """
        path = call.step
        script = next((one for one in reversed(self._scripts) if one.key.matches(path)), None)
        if script is None:
            return None
        if script.function is not None:
            return script.function(call)
        if script.repeats:
            return script.answers[0]
        taken = self._taken.get(id(script), 0)
        if taken == len(script.answers):
            number = f"{taken} answer{'' if taken == 1 else 's'}"
            raise TestBroken(
                f'"{path}" makes attempt {call.attempt}, and the list for {script.key.text} had {number}. Add one, '
                "or give one answer without a list: it holds for all attempts.",
                path,
            )
        self._taken[id(script)] = taken + 1
        return script.answers[taken]


def outcome(scripted: Scripted, attempt: Attempt, step: Step, request: Json, now: datetime) -> Outcome:
    """What the answer means for the attempt, judged as a service's own answer would be.

    Raises ``ExpressionFailed`` where a text of the answer cannot be rendered.
    """
    answer, work = scripted.answer, attempt.call.work
    if answer.error is not None:
        return _failed(answer.error, attempt, step)
    content = attempt.redactor.json(content_of(scripted, attempt.call, request))
    if not isinstance(work, HttpWork):
        return Completed(content)
    status = answer.status or _good_status(work)
    return _judged(work, attempt, status, verdict.header_map(answer.headers), content, now)


def content_of(scripted: Scripted, call: StepCall, request: Json) -> Json:
    """The answer's output or body. Raises ``ExpressionFailed``."""
    found = _LAST_INDEX.search(call.path)
    index = int(found[1]) if found else 0
    return scripted.content.render({"index": index, "attempt": call.attempt, "request": request})


def _judged(
    work: HttpWork, attempt: Attempt, status: int, headers: Mapping[str, str], body: Json, now: datetime
) -> Outcome:
    attempt.in_doubt = work.method not in SAFE_METHODS and not verdict.refused(status)
    kept = None if work.response == "none" and status < 400 else body
    result: Json = {"status": status, "headers": dict(headers), "body": kept}
    if isinstance(work.success, tuple):
        good = verdict.admits(work.success, status)
    else:
        try:
            good = work.success.evaluate_bool(Values(attempt.values, {"result": result}))
        except ExpressionFailed as failure:
            message = f"{attempt.label} answered {status}, but success: {failure}"
            return attempt.failed("expression", message, status=status, body=body)
        if status < 300:
            attempt.in_doubt = False
    if good:
        return _last_answer(work, attempt, result)
    return attempt.failed(
        f"http_{status}",
        verdict.explained(attempt.label, status, body),
        status=status,
        body=body,
        retryable=verdict.retryable(status),
        retry_after=verdict.retry_after(headers.get("retry-after"), now),
    )


def _last_answer(work: HttpWork, attempt: Attempt, result: dict[str, Json]) -> Outcome:
    """Of a step that asks again, or is called back, the test's answer stands for the one that ends it."""
    if work.callback is not None:
        return Completed({**result, "first": {"status": 202, "headers": {}, "body": None}})
    if work.poll is None:
        return Completed(result)
    values = Values(attempt.values, {"result": result})
    try:
        if work.poll.fail_when is not None and work.poll.fail_when.evaluate_bool(values):
            message = f"poll.fail_when holds: {verdict.explained(attempt.label, result['status'], result['body'])}"
            return attempt.failed("poll_failed", message, in_doubt=False, status=result["status"], body=result["body"])
        done = work.poll.until.evaluate_bool(values)
    except ExpressionFailed as failure:
        message = f"{attempt.label} answered {result['status']}, but poll: {failure}"
        return attempt.failed("expression", message, status=result["status"], body=result["body"])
    if not done:
        raise TestBroken(
            f'the answer for "{attempt.call.path}" does not end its poll: until gives false for it, and the test\'s answer '
            "stands for the last one",
            attempt.call.path,
        )
    return Completed(result)


def _good_status(work: HttpWork) -> int:
    """A status that the step takes for success."""
    if isinstance(work.success, tuple):
        return int(work.success[0].replace("xx", "00")) if work.success and "2xx" not in work.success else 200
    return 200


def _failed(error: ErrorAnswer | str, attempt: Attempt, step: Step) -> Outcome:
    if isinstance(error, str):
        error = ErrorAnswer(code=error)
    unanswered = error.code in _NO_ANSWER
    may_have_happened = unanswered and step.has_effect
    return attempt.failed(
        error.code,
        error.message or f"{attempt.label} failed as the test says: {error.code}",
        in_doubt=error.in_doubt if error.in_doubt is not None else may_have_happened,
        retryable=error.retryable if error.retryable is not None else unanswered or error.code in _NOTHING_SENT,
        status=error.status,
        body=error.body,
        retry_after=error.retry_after,
        details=error.details,
    )


def _compiled(value: Json) -> Template:
    match value:
        case str():
            return compile_text(value, ROOTS)
        case dict():
            return Template.of({key: _compiled(part) for key, part in cast("dict[str, Any]", value).items()})
        case list():
            return Template.of([_compiled(part) for part in cast("list[Any]", value)])
        case _:
            return Template.of(value)
