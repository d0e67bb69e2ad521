"""Asking again for what takes long: the 202 pattern.

The first answer is parked, so it is recorded before anything is asked; from then on the first request is never sent again.
One question is one ``StepCall`` with ``parked`` set. Trouble on the way, such as no connection or a 503, is no answer
to the question and is asked again. What no later question will change fails the step, and since its request was accepted long
ago, the effect is in doubt.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta

from yarl import URL

from mcp_workflows.definition.expressions import Expression, ExpressionFailed, Template
from mcp_workflows.definition.expressions.template import Joined
from mcp_workflows.definition.program import SAFE_METHODS, HttpWork, Json, Poll
from mcp_workflows.engine.outcome import Completed, Failed, Outcome, Parked
from mcp_workflows.steps import redirect, verdict
from mcp_workflows.steps.attempt import Attempt, Values, cut
from mcp_workflows.steps.exchange import Exchanged, Exchanges
from mcp_workflows.steps.guard import AddressBlocked
from mcp_workflows.steps.request import Request, RequestInvalid, origin, render, url_of

SHORTEST = 1.0
"""Seconds: what ``Retry-After: 0`` means here, unless ``every`` itself is shorter."""
_ABSOLUTE = re.compile(r"https?://", re.IGNORECASE)
_HOST_ENDS = re.compile(r"https?://[^/?#]+[/?#]", re.IGNORECASE)


def first(work: HttpWork) -> HttpWork:
    """The work of the first request. Of a blob only the last answer is one: ``url`` may need what the first one says."""
    return replace(work, response="auto") if work.poll is not None and work.response == "blob" else work


def begin(exchanges: Exchanges, attempt: Attempt, work: HttpWork, poll: Poll, exchanged: Exchanged) -> Outcome:
    """What the first answer means: done or failed already, or the beginning of the asking."""
    assert isinstance(exchanged.outcome, Completed)
    result = exchanged.outcome.result
    if work.response != "blob":
        if poll.fail_when is not None and _holds_already(poll.fail_when, attempt, result):
            return _says_failed(attempt, result)
        if _holds_already(poll.until, attempt, result):
            return exchanged.outcome
    now = exchanges.clock()
    until = None if poll.timeout is None else now + timedelta(seconds=poll.timeout)
    note: dict[str, Json] = {"first": result, "until": until and until.isoformat(), "asked": 0}
    if exchanged.redirected_to is not None:
        base = str(exchanged.redirected_to.with_query(None).with_fragment(None))
        if not attempt.redactor.touches(base):
            note["base"] = base
    return Parked(note, wake_after=_pause(poll, _retry_after(result, now), until, now))


async def ask(exchanges: Exchanges, attempt: Attempt, work: HttpWork, poll: Poll) -> Outcome:
    """One question, and what its answer means."""
    accepted = work.method not in SAFE_METHODS
    try:
        exchanged = await _exchange(exchanges, attempt, work, poll)
    finally:
        attempt.in_doubt = accepted  # also where the question fails in a way that nobody thought of
    outcome = exchanged.outcome
    if isinstance(outcome, Completed):
        settled = await _settled(exchanges, attempt, poll, exchanged)
        if settled is not None and not (isinstance(settled, Failed) and settled.error.retryable):
            return settled
        outcome = settled or outcome
    now = exchanges.clock()
    if isinstance(outcome, Failed):
        error = outcome.error
        if not error.retryable:
            return Failed(replace(error, in_doubt=accepted))
        return _not_yet(attempt, poll, error.message, error.retry_after, now)
    result = outcome.result
    last = verdict.explained(attempt.label, result["status"], result["body"])
    return _not_yet(attempt, poll, last, _retry_after(result, now), now)


async def _settled(
    exchanges: Exchanges, attempt: Attempt, poll: Poll, exchanged: Exchanged
) -> Completed | Failed | None:
    """How the step ends with this answer; ``None``: not yet."""
    assert isinstance(exchanged.outcome, Completed)
    result = exchanged.outcome.result
    values = Values(attempt.values, {"result": result})
    try:
        if poll.fail_when is not None and poll.fail_when.evaluate_bool(values):
            return _says_failed(attempt, result)
        done = poll.until.evaluate_bool(values)
    except ExpressionFailed as failure:
        message = f"{attempt.label} answered {result['status']}, but poll: {failure}"
        return attempt.failed("expression", message, status=result["status"], body=result["body"])
    return await exchanges.keep(attempt, exchanged) if done else None


def _not_yet(attempt: Attempt, poll: Poll, last: str, retry_after: float | None, now: datetime) -> Outcome:
    note: Json = attempt.call.parked
    last = cut(attempt.redactor.text(last))
    until = datetime.fromisoformat(note["until"]) if note["until"] else None
    if until is not None and now >= until:
        message = f"poll was not over after {poll.timeout:g} s and {note['asked'] + 1} questions. The last: {last}"
        return attempt.failed("poll_timeout", message)
    note = {**note, "asked": note["asked"] + 1, "last": last}
    return Parked(note, wake_after=_pause(poll, retry_after, until, now))


async def _exchange(exchanges: Exchanges, attempt: Attempt, work: HttpWork, poll: Poll) -> Exchanged:
    """The exchange within the attempt's time; too long is one more way to get no answer, and not the attempt's end."""
    asking = replace(
        work,
        method=poll.method,
        query=None,
        body_kind=None,
        body=None,
        success=("2xx",),
        idempotency_key=False,  # under the first request's key a service would answer what it answered then
        poll=None,
    )
    assert attempt.deadline is not None
    attempt.deadline.suspend()
    attempt.deadline = deadline = attempt.deadline.nested(attempt.call.timeout)
    try:
        with deadline:
            return await exchanges.make(attempt, asking, lambda: _request(attempt, work, asking, poll))
    except TimeoutError:
        if not deadline.expired:
            raise
        message = f"{attempt.label} took longer than {attempt.call.timeout:g} s"
        return Exchanged(attempt.failed("timeout", message, retryable=True))


def _request(attempt: Attempt, work: HttpWork, asking: HttpWork, poll: Poll) -> Request:
    """Raises ``ExpressionFailed``, ``RequestInvalid`` and ``AddressBlocked``."""
    note: Json = attempt.call.parked
    values = Values(attempt.values, {"result": note["first"]})
    home = url_of(work.url.render_url(attempt.values))
    text = poll.url.render_url(values)
    if not _ABSOLUTE.match(text):
        text = _absolute(text, poll.url, URL(note["base"], encoded=True) if "base" in note else home)
    url = url_of(text)
    at_home = origin(url) == origin(home)
    if not at_home:
        _check_headers(poll, url)
    headers = [(name, value) for name, value in work.headers if at_home and name.lower() not in redirect.ABOUT_BODY]
    question = replace(
        asking,
        url=Template.of(text),
        headers=(*headers, *poll.headers),
        auth=work.auth if at_home else None,
    )
    return render(question, attempt.call._replace(correction=None), values)


def _absolute(text: str, template: Template, base: URL) -> str:
    """Only of an answer's ``Location``: in a text of several pieces what is inserted could lead anywhere."""
    if isinstance(template.shape, Joined):
        raise RequestInvalid("the url of poll must begin with http:// or https:// and a host")
    try:
        return str(base.join(URL(text, encoded=True)))
    except ValueError:
        raise RequestInvalid("the url of poll cannot be read") from None


def _check_headers(poll: Poll, url: URL) -> None:
    """A secret goes where its author sends it, and not where an answer says."""
    if not _host_is_written(poll.url) and any("secrets" in value.names for _, value in poll.headers):
        raise AddressBlocked(f'host "{url.host}" comes from the answer, and a header of poll holds a secret')


def _host_is_written(template: Template) -> bool:
    """The host of the URL does not come from ``result``."""
    seen = ""
    for piece in template.shape.pieces if isinstance(template.shape, Joined) else (template.shape,):
        if isinstance(piece, str):
            seen += piece
        elif "result" in piece.names:
            return False
        else:
            seen += "x" if "://" in seen else "http://x"
        if _HOST_ENDS.match(seen):
            return True
    return True


def _holds_already(condition: Expression, attempt: Attempt, result: Json) -> bool:
    """Of the first answer, which often looks unlike the later ones: what cannot be told of it does not hold."""
    try:
        return condition.evaluate_bool(Values(attempt.values, {"result": result}))
    except ExpressionFailed:
        return False


def _says_failed(attempt: Attempt, result: Json) -> Failed:
    status = result["status"]
    message = f"poll.fail_when holds: {verdict.explained(attempt.label, status, result['body'])}"
    return attempt.failed("poll_failed", message, in_doubt=False, status=status, body=result["body"])


def _retry_after(result: Json, now: datetime) -> float | None:
    return verdict.retry_after(result["headers"].get("retry-after"), now)


def _pause(poll: Poll, retry_after: float | None, until: datetime | None, now: datetime) -> float:
    """Seconds until the next question. The last one is asked when the time is over."""
    pause = poll.every if retry_after is None else max(retry_after, min(SHORTEST, poll.every))
    return pause if until is None else min(pause, max(0.0, (until - now).total_seconds()))
