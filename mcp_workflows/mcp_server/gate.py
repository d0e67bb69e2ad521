"""What holds for requests of every kind: how often one actor may make them, which of them change a run, and what is said
when the service is unwell.

A call of a tool is refused by the tool's answer, which a model reads; all others by an error of the protocol.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_REQUEST

from mcp_workflows.access.principal import RUN
from mcp_workflows.access.rate import Rate
from mcp_workflows.errors import SystemUnwell
from mcp_workflows.mcp_server.caller import Caller, caller_of
from mcp_workflows.mcp_server.views import refusals

_BEGINNINGS = frozenset({"initialize", "ping", "server/discover", "tools/list"})
"""What every connection begins with: counted for itself, so that a client that may not call now can connect."""
_BEGINNINGS_EACH = 10
"""So many beginnings for each call that is allowed."""
_CALL = "tools/call"
"""Counted where it can be refused in words."""


class Gate:
    """Stands before every handler. ``changing``: methods beside those of the core that change a run."""

    def __init__(self, rate: Rate | None, changing: Collection[str] = ()) -> None:
        self._rate = rate
        self._changing = frozenset(changing)
        self._beginnings = rate and Rate(rate.per_minute * _BEGINNINGS_EACH)

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        if ctx.request_id is not None and ctx.method != _CALL:
            caller = caller_of(ctx)
            refused = _too_many(self._beginnings if ctx.method in _BEGINNINGS else self._rate, caller)
            if refused is None and ctx.method in self._changing and not caller.may_act:
                refused = refusals.may_not(caller.actor, "change runs", RUN)
            if refused is not None:
                raise MCPError(code=INVALID_REQUEST, message=refused)
        try:
            return await call_next(ctx)
        except SystemUnwell as unwell:
            told = refusals.unwell(unwell, discreet=caller_of(ctx).is_outside)
            raise MCPError(code=INTERNAL_ERROR, message=told) from None

    def too_many(self, caller: Caller) -> str | None:
        """Why this call of a tool is one too many."""
        return _too_many(self._rate, caller)


def _too_many(rate: Rate | None, caller: Caller) -> str | None:
    if rate is None:
        return None
    seconds = rate.wait(caller.actor, asyncio.get_running_loop().time())
    return refusals.too_many(rate.per_minute, seconds) if seconds else None
