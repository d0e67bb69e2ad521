"""The doer of ``http`` steps: one request, and for what takes long what follows it.

An attempt sends its request and is done with the answer; or it is parked with it, to be asked for again (``poll``) or
until somebody calls (``callback``).
"""

from __future__ import annotations

from mcp_workflows.clock import Clock
from mcp_workflows.definition.program import HttpWork, Json
from mcp_workflows.engine.outcome import Completed, Failed, Outcome, Parked, StepCall
from mcp_workflows.errors import SettingsInvalid
from mcp_workflows.steps import callback, poll
from mcp_workflows.steps.attempt import Attempt, Values
from mcp_workflows.steps.environment import Environment
from mcp_workflows.steps.exchange import Exchanges
from mcp_workflows.steps.redact import Redactor
from mcp_workflows.steps.request import OUTSIDE, render


class Http:
    """The doer of ``HttpWork``."""

    def __init__(self, environment: Environment, clock: Clock) -> None:
        self._environment = environment
        self._exchanges = Exchanges(environment, clock)

    async def attempt(self, attempt: Attempt) -> Outcome:
        work = attempt.call.work
        assert isinstance(work, HttpWork)
        if attempt.call.parked is not None:
            assert work.poll is not None, "only a poll is asked to go on"
            return await poll.ask(self._exchanges, attempt, work, work.poll)
        if self._environment.blobs is None and (work.response == "blob" or work.body_kind in OUTSIDE):
            raise SettingsInvalid("blobs cannot be kept here")
        if work.callback is not None:
            self._await_call(attempt)
        exchanged = await self._exchanges.make(
            attempt, poll.first(work), lambda: render(work, attempt.call, attempt.values)
        )
        outcome = exchanged.outcome if exchanged.blob is None else await self._exchanges.keep(attempt, exchanged)
        if isinstance(outcome, Failed):
            return outcome
        if work.callback is not None:
            return _parked_for_call(attempt, work, outcome)
        if work.poll is not None:
            return poll.begin(self._exchanges, attempt, work, work.poll, exchanged)
        return outcome

    def _await_call(self, attempt: Attempt) -> None:
        """Gives ``callback_url`` its value and hides its token as a secret."""
        environment, call = self._environment, attempt.call
        if environment.callback_base is None or environment.callback_tokens is None:
            raise SettingsInvalid("nobody can call this process")  # which moves no such run: Steps.lacks_address
        token = environment.callback_tokens.make(call.run_id, call.path, _first_of_key(call))
        url = f"{environment.callback_base.rstrip('/')}{callback.PATH}{token}"
        attempt.redactor = Redactor({**attempt.secrets, callback.SHOWN_AS: token})
        attempt.values = Values(attempt.values, {"callback_url": url})

    async def close(self) -> None:
        await self._exchanges.close()


def _first_of_key(call: StepCall) -> int:
    """The attempt that a token names: the first with this idempotency key, which stands for all of them.

    A service that compares a repeated request with what it knows of the key has to find the same address in it. After a
    correction the key has one more part, and every attempt an address of its own.
    """
    return 1 if call.idempotency_key == f"{call.run_id}:{call.path}" else call.attempt


def _parked_for_call(attempt: Attempt, work: HttpWork, answered: Completed) -> Parked:
    assert work.callback is not None
    note: Json = {"first": answered.result, "attempt": attempt.call.attempt}
    return Parked(note, expires_after=work.callback.timeout)
