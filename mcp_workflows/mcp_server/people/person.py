"""The person at the client of one call: whether they can be asked there, what they were asked, and what came of it.

In the handshake era the server asks while the call is open. Since 2026-07-28 it answers the call with what is to be asked, and
the client makes the same call again with what was answered and with the state that it was given; the state is sealed with a
key that all nodes of the database share, so that any of them takes it, also after a restart.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeAlias

from mcp.server.context import ServerRequestContext
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp_types import (
    CallToolRequestParams,
    ClientCapabilities,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
    InputResponse,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from mcp_workflows.asking.waiting import Waiting
from mcp_workflows.mcp_server.people.forms import Question, question
from mcp_workflows.runtime.views import RunView

Context: TypeAlias = ServerRequestContext[Any, Any]
Elicit = Callable[[Question], Awaitable[ElicitResult]]

VIA: Final = "elicitation"
"""Through what such an answer came, as it is recorded."""
KEY_PURPOSE: Final = b"request state 1"
STATE_SECONDS: Final = 30 * 86400.0
"""How long a person may take: an answer that comes twice, or too late, is refused by the run itself."""
MAX_ROUNDS: Final = 8
"""Clients give up after ten."""


@dataclass(frozen=True, slots=True)
class Round:
    """What a call that is made again was given before: the run that it is about, and which questions it brings answers to."""

    run_id: str
    asked: tuple[str, ...]
    number: int
    joined: bool
    settled: tuple[str, ...] = ()

    def to_state(self) -> str:
        return json.dumps([self.run_id, list(self.asked), self.number, self.joined, list(self.settled)])

    @classmethod
    def of_state(cls, state: str) -> Round:
        """Of a state that was unsealed, so that it is one that this server made."""
        run_id, asked, number, joined, settled = json.loads(state)
        return cls(run_id, tuple(asked), number, joined, tuple(settled))


@dataclass(slots=True)
class Person:
    """Whom a call may ask. ``elicit`` asks at once; without it the call is answered with the questions."""

    elicit: Elicit | None = None
    round: Round | None = None
    answers: Mapping[str, InputResponse] = field(default_factory=dict[str, InputResponse])
    """By question."""
    settled: set[str] = field(default_factory=set[str])
    """What need not be asked in this call any more."""
    refused: dict[str, str] = field(default_factory=dict[str, str])
    """Why an answer was not taken; it is asked again."""

    def questions(self, view: RunView, actor: str, now: datetime) -> list[Waiting]:
        """What the run asks of a person, as far as this one may answer it and was not asked yet."""
        return [wait for wait in view.waiting_for if wait.key not in self.settled and asks(wait, actor, now)]

    def ask(self, view: RunView, waits: Sequence[Waiting]) -> InputRequiredResult:
        """The answer to the call that has the client ask."""
        number = 1 if self.round is None else self.round.number + 1
        keys = tuple(wait.key for wait in waits)
        following = Round(view.run_id, keys, number, view.joined, tuple(self.settled))
        requests = {wait.key: request_of(question(view, wait, self.refused.get(wait.key))) for wait in waits}
        return InputRequiredResult(input_requests={**requests}, request_state=following.to_state())

    def has_enough(self) -> bool:
        """The client has asked so often that it would give up."""
        return self.round is not None and self.round.number >= MAX_ROUNDS


def asks(wait: Waiting, actor: str, now: datetime) -> bool:
    """A person must decide, this one may, and there is time left. What anyone may answer is left to the agent."""
    open_ = wait.expires_at is None or wait.expires_at > now
    return wait.kind == "approval" and wait.by == "person" and may_answer(wait, actor) and open_


def may_answer(wait: Waiting, actor: str) -> bool:
    return wait.approvers is None or actor in wait.approvers


def person_at(ctx: Context, params: CallToolRequestParams) -> Person | None:
    """The person whom this call can ask; ``None``: its client did not say that it can show a form."""
    if not shows_forms(ctx.session.client_capabilities):
        return None
    if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
        if params.request_state is None:
            return Person()
        before = Round.of_state(params.request_state)
        return Person(round=before, answers=params.input_responses or {}, settled=set(before.settled))
    return Person(_elicit(ctx)) if ctx.session.can_send_request else None


def shows_forms(capabilities: ClientCapabilities | None) -> bool:
    """A client that says nothing of modes knows the first one: forms."""
    elicitation = None if capabilities is None else capabilities.elicitation
    return elicitation is not None and (elicitation.form is not None or elicitation.url is None)


def request_of(asked: Question) -> ElicitRequest:
    return ElicitRequest(params=ElicitRequestFormParams(message=asked.message, requested_schema=asked.schema))


def seal(key: bytes, principal: Callable[[Context], str]) -> RequestStateBoundary:
    """What seals and unseals request states on their way; each is good for one actor, one tool and one input of it."""
    security = RequestStateSecurity(keys=[key], ttl=STATE_SECONDS, bind_principal=principal)
    return RequestStateBoundary(security, default_audience="mcp-workflows")


def _elicit(ctx: Context) -> Elicit:
    async def elicit(asked: Question) -> ElicitResult:
        return await ctx.session.elicit_form(asked.message, asked.schema, ctx.request_id)

    return elicit
