"""Who calls a tool, and how far a waiting call has come: what the tools need to know of a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.context import ServerRequestContext

from mcp_workflows.access.principal import OPERATE, RUN, Principal
from mcp_workflows.mcp_server.people.person import Person, Round
from mcp_workflows.runtime.runs import LOCAL
from mcp_workflows.runtime.views import RunView

Report = Callable[[float, str | None], Awaitable[None]]
"""Sends one progress notification: how much, and a message. Does nothing where the client asked for none."""


@dataclass(slots=True)
class Caller:
    """One call. ``report`` tells its client how far the run is while the call waits."""

    actor: str
    """Whose runs are started, and shown."""
    report: Report
    principal: Principal | None = None
    """What its token allows; ``None``: nobody has to authenticate, and whoever asks may do everything."""
    person: Person | None = None
    """Who can be asked at its client."""
    takes_tasks: bool = False
    """Its client takes a task for an answer."""
    _last: float = field(default=-1.0, init=False)

    @property
    def named(self) -> str | None:
        """The actor, where whoever asks has to say who they are."""
        return None if self.principal is None else self.actor

    @property
    def round(self) -> Round | None:
        """What the call was given before, where it is made again after the person was asked."""
        return None if self.person is None else self.person.round

    @property
    def is_outside(self) -> bool:
        """Not somebody at this machine, who runs the service and may know how it is built."""
        return self.principal is not None

    @property
    def may_act(self) -> bool:
        """Answer, resume and cancel runs that it sees."""
        return self.holds(RUN)

    def holds(self, scope: str) -> bool:
        """Whether it may do what ``scope`` allows, with every workflow or with some."""
        return self.principal is None or self.principal.holds(scope)

    def may_start(self, workflow: str) -> bool:
        return self.principal is None or self.principal.may_start(workflow)

    @property
    def sees(self) -> str | None:
        """Whose runs it may follow; ``None``: everybody's."""
        return None if self.principal is not None and self.principal.holds(OPERATE) else self.actor

    @property
    def may_list_all(self) -> bool:
        """Also whoever is at this machine, who can read the database anyway."""
        return self.principal is None or self.sees is None

    async def on_progress(self, view: RunView) -> None:
        """The protocol wants each notification to be higher than the one before, so one that is not is left out."""
        if view.progress is not None and view.progress.completed > self._last:
            self._last = view.progress.completed
            await self.report(self._last, ", ".join(view.progress.running[:5]) or str(view.status))


def caller_of(ctx: ServerRequestContext[Any, Any]) -> Caller:
    """Who sent this request. Every handler takes the actor from here, and from nowhere else.

    Over HTTP it is whom the request's token names: what the transport attached to this one request, and not what a
    connection began with. Where requests carry no user, nobody has to authenticate, and the actor is ``LOCAL``.
    """
    user = None if ctx.request is None else ctx.request.scope.get("user")
    if user is None:
        return Caller(LOCAL, _report(ctx))
    assert isinstance(user, AuthenticatedUser), "a request that failed to authenticate reached a handler"
    actor = user.access_token.subject or user.access_token.client_id
    return Caller(actor, _report(ctx), Principal(actor, frozenset(user.access_token.scopes)))


def _report(ctx: ServerRequestContext[Any, Any]) -> Report:
    return lambda done, message: ctx.session.report_progress(done, None, message)
