"""When a failed attempt is made again: tenacity's strategies, decided once and recorded as an instant."""

from __future__ import annotations

import zlib
from datetime import datetime, timedelta

from tenacity import RetryCallState, wait_exponential, wait_fixed, wait_incrementing
from tenacity.wait import wait_base

from mcp_workflows.definition.program import INTERRUPTED, Backoff, Retry
from mcp_workflows.engine.bounds import TooLarge
from mcp_workflows.engine.outcome import StepError

NEVER_RETRIED = frozenset({"expression", TooLarge.code, "invalid_request", "blocked_address", INTERRUPTED})
"""Codes that no ``retry.for`` brings back: the same attempt can only end the same way, or must not be made again."""


def next_attempt_at(
    retry: Retry, error: StepError, *, attempts: int, first_at: datetime, now: datetime, salt: str
) -> datetime | None:
    """The instant of the next attempt, or ``None`` when there is none.

    ``attempts`` have been made, the first of them at ``first_at``. ``salt`` seeds the jitter, so that the decision is a
    pure function: half of the delay is fixed and half depends on the salt ("equal jitter").
    """
    if attempts >= retry.max_attempts or not _worth_retrying(retry, error):
        return None
    delay = _strategy(retry)(_state(attempts))
    if retry.jitter:
        delay *= 0.5 + zlib.crc32(f"{salt}#{attempts}".encode()) / 2**33
    if error.retry_after is not None:
        delay = max(delay, error.retry_after)
    due = now + timedelta(seconds=delay)
    if retry.give_up_after is not None and (due - first_at).total_seconds() > retry.give_up_after:
        return None
    return due


def _worth_retrying(retry: Retry, error: StepError) -> bool:
    if error.code in NEVER_RETRIED:
        return False
    if retry.conditions is None:
        return error.retryable
    return any(_matches(condition, error) for condition in retry.conditions)


def _matches(condition: str, error: StepError) -> bool:
    """``429`` and ``5xx`` match the status, ``timeout`` whatever was sent and got no answer, else the error's code."""
    if condition == error.code or (condition == "timeout" and error.code == "reset"):
        return True
    status = str(error.status or "")
    return status == condition or (len(status) == 3 and condition == f"{status[0]}xx")


def _strategy(retry: Retry) -> wait_base:
    match retry.backoff:
        case Backoff.FIXED:
            return wait_fixed(min(retry.delay, retry.max_delay))
        case Backoff.LINEAR:
            return wait_incrementing(start=retry.delay, increment=retry.delay, max=retry.max_delay)
        case Backoff.EXPONENTIAL:
            return wait_exponential(multiplier=retry.delay, max=retry.max_delay)


def _state(attempts: int) -> RetryCallState:
    state = RetryCallState(None, None, (), {})  # pyright: ignore[reportArgumentType]  # strategies read the number only
    state.attempt_number = attempts
    return state
