"""The person at the client of one call: whether they can be asked there, what they were asked, and what came of it.

In the handshake era the server asks while the call is open. Since 2026-07-28 it answers the call with what is to be asked, and
the client makes the same call again with what was answered and with the state that it was given; the state is sealed with a
key that all nodes of the database share, so that any of them takes it, also after a restart.

A client that was led to the page is told when the run has its decision, in the handshake era, also after the call has ended.
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
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
    InputResponse,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from mcp_workflows.access.links import Links
from mcp_workflows.asking.waiting import Waiting
from mcp_workflows.clock import new_id
from mcp_workflows.errors import CallerError, SystemUnwell
from mcp_workflows.mcp_server.people.screen import FORMS, Opened, Screen, opens_addresses, shows_forms
from mcp_workflows.mcp_server.subscriptions.announcer import Announcer
from mcp_workflows.mcp_server.subscriptions.listener import Notice, Stop, Tell
from mcp_workflows.runtime.runs import Runs
from mcp_workflows.runtime.views import RunView

Context: TypeAlias = ServerRequestContext[Any, Any]
Elicit = Callable[[RunView, Waiting, ElicitRequest], Awaitable[ElicitResult]]

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
    """Whom a call may ask, and how they answer. ``elicit`` asks at once; without it the call is answered with the questions."""

    screen: Screen
    answers_as: str
    """Who answers, as it will be recorded."""
    opened: Opened
    elicit: Elicit | None = None
    round: Round | None = None
    answers: Mapping[str, InputResponse] = field(default_factory=dict[str, InputResponse])
    """By question."""
    settled: set[str] = field(default_factory=set[str])
    """What need not be asked in this call any more."""
    refused: dict[str, str] = field(default_factory=dict[str, str])
    """Why an answer was not taken; it is asked again."""

    def questions(self, view: RunView, now: datetime) -> list[Waiting]:
        """What the run asks of a person, as far as this one may answer it and was not asked yet."""
        return [wait for wait in view.waiting_for if wait.key not in self.settled and self._asks(view, wait, now)]

    def leave_to_page(self, view: RunView, wait: Waiting) -> None:
        """They agreed to open it, and need not be asked for that again, in whatever call."""
        self.settled.add(wait.key)
        self.opened.add(self.answers_as, view.run_id, wait.key)

    def request(self, view: RunView, wait: Waiting) -> ElicitRequest:
        return self.screen.request(view, wait, self.refused.get(wait.key))

    def ask(self, view: RunView, waits: Sequence[Waiting]) -> InputRequiredResult:
        """The answer to the call that has the client ask."""
        number = 1 if self.round is None else self.round.number + 1
        keys = tuple(wait.key for wait in waits)
        following = Round(view.run_id, keys, number, view.joined, tuple(self.settled))
        requests = {wait.key: self.request(view, wait) for wait in waits}
        return InputRequiredResult(input_requests={**requests}, request_state=following.to_state())

    def has_enough(self) -> bool:
        """The client has asked so often that it would give up."""
        return self.round is not None and self.round.number >= MAX_ROUNDS

    def _asks(self, view: RunView, wait: Waiting, now: datetime) -> bool:
        """A person must decide, this one may, and there is time left. What anyone may answer is left to the agent."""
        open_ = wait.expires_at is None or wait.expires_at > now
        mine = wait.kind == "approval" and wait.by == "person" and may_answer(wait, self.answers_as)
        return mine and open_ and not self.opened.holds(self.answers_as, view.run_id, wait.key)


def may_answer(wait: Waiting, actor: str) -> bool:
    return wait.approvers is None or actor in wait.approvers


class People:
    """Who sits at the clients of one server. ``page`` gives the links to where people answer, while such a page is served."""

    def __init__(self, runs: Runs, announcer: Announcer, page: Callable[[], Links | None]) -> None:
        self._runs = runs
        self._announcer = announcer
        self._page = page
        self._opened = Opened()

    def screen(self, ctx: Context) -> Screen | None:
        """What this client can put before its person; ``None``: nothing, as far as it said."""
        capabilities = ctx.session.client_capabilities
        if shows_forms(capabilities):
            return FORMS
        links = self._page() if opens_addresses(capabilities, ctx.protocol_version) else None
        return None if links is None else Screen(links)

    def at(self, ctx: Context, params: CallToolRequestParams, actor: str, *, known: bool) -> Person | None:
        """The person whom this call of ``actor`` can ask. ``known``: the actor has shown who they are."""
        screen = self.screen(ctx)
        if screen is None:
            return None
        person = Person(screen, screen.answers_as(actor, known=known), self._opened)
        if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            person.elicit = self._elicit(ctx)
            return person if ctx.session.can_send_request else None
        if params.request_state is not None:
            person.round = Round.of_state(params.request_state)
            person.answers = params.input_responses or {}
            person.settled = set(person.round.settled)
        return person

    def _elicit(self, ctx: Context) -> Elicit:
        async def elicit(view: RunView, wait: Waiting, request: ElicitRequest) -> ElicitResult:
            asked = request.params
            if isinstance(asked, ElicitRequestFormParams):
                return await ctx.session.elicit_form(asked.message, asked.requested_schema, ctx.request_id)
            name = new_id("e_")
            reply = await ctx.session.elicit_url(asked.message, asked.url, name, ctx.request_id)
            if reply.action == "accept":
                await self._announcer.follow(
                    ctx, f"elicitation {name}", lambda over: Decision(self._runs, view.run_id, wait.key, name, over)
                )
            return reply

        return elicit


class Decision:
    """The topic of what a person was led to the page for: that it was decided, or need not be any more. It is told once."""

    def __init__(self, runs: Runs, run_id: str, wait: str, name: str, over: Stop) -> None:
        self._runs = runs
        self._run_id, self._wait, self._name = run_id, wait, name
        self._over = over

    async def follow(self, tell: Tell) -> Stop:
        stop = await self._runs.follow(self._run_id, tell, actor=None)
        tell()
        return stop

    async def notice(self) -> Notice | None:
        try:
            view = await self._runs.get(self._run_id, actor=None)
        except (CallerError, SystemUnwell):
            return None
        if any(wait.key == self._wait for wait in view.waiting_for):
            return None
        self._over()
        return Notice("notifications/elicitation/complete", {"elicitationId": self._name})


def seal(key: bytes, principal: Callable[[Context], str]) -> RequestStateBoundary:
    """What seals and unseals request states on their way; each is good for one actor, one tool and one input of it."""
    security = RequestStateSecurity(keys=[key], ttl=STATE_SECONDS, bind_principal=principal)
    return RequestStateBoundary(security, default_audience="mcp-workflows")
