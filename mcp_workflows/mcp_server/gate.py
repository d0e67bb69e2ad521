"""What holds for requests of every kind: how often one actor may make them, and which of them change a run.

A call of a tool is refused by the tool's answer, which a model reads; all others by an error of the protocol.
"""

from __future__ import annotations

import asyncio
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_REQUEST

from mcp_workflows.access.principal import RUN
from mcp_workflows.access.rate import Rate
from mcp_workflows.mcp_server.caller import Caller, caller_of
from mcp_workflows.mcp_server.views import refusals

_UNCOUNTED = frozenset({"initialize", "ping", "server/discover", "tools/list", "tools/call"})
"""What every connection begins with; and the tools, which are counted where they can be refused in words."""
_CHANGING = frozenset({"tasks/update", "tasks/cancel"})


class Gate:
    """Stands before every handler."""

    def __init__(self, rate: Rate | None) -> None:
        self._rate = rate

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        if ctx.request_id is not None and ctx.method not in _UNCOUNTED:
            caller = caller_of(ctx)
            refused = self.too_many(caller)
            if refused is None and ctx.method in _CHANGING and not caller.may_act:
                refused = refusals.may_not(caller.actor, "change runs", RUN)
            if refused is not None:
                raise MCPError(code=INVALID_REQUEST, message=refused)
        return await call_next(ctx)

    def too_many(self, caller: Caller) -> str | None:
        """Why this call of a tool is one too many."""
        if self._rate is None:
            return None
        seconds = self._rate.wait(caller.actor, asyncio.get_running_loop().time())
        return refusals.too_many(self._rate.per_minute, seconds) if seconds else None
