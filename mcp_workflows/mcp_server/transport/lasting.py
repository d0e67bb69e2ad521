"""Requests that last, calls that wait and streams: as long as their token is valid, and so many of one actor.

A token is looked at when a request begins; what began with it must not go on for ever when it has ended, or was taken back.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_workflows.access.verifying import Verifier
from mcp_workflows.errors import IdentityUnknown
from mcp_workflows.mcp_server.transport.ending import run_until

AGAIN_SECONDS: Final = 10.0
"""After so long a token is looked at again, and again."""
UNCONFIRMED_SECONDS: Final = 60.0
"""So long a request goes on while it cannot be found out whether its token is still valid."""
_RETRY_AFTER: Final = "5"


class WhileValid:
    """``app``, for requests whose token was found to be valid. ``most``: of one actor at the same time.

    ``over`` answers a request whose token is not valid any more, if nothing was answered yet.
    """

    def __init__(self, app: ASGIApp, verifier: Verifier, *, most: int, over: ASGIApp) -> None:
        self._app = app
        self._verifier = verifier
        self._most = most
        self._over = over
        self._open: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        user: AuthenticatedUser = scope["user"]
        actor = user.username
        if self._open[actor] >= self._most:
            told = f"{actor} has {self._most} requests under way here. Wait for some of them to be answered."
            body = {"error": "too_many_requests", "error_description": told}
            await JSONResponse(body, 429, {"Retry-After": _RETRY_AFTER})(scope, receive, send)
            return
        self._open[actor] += 1
        over = asyncio.Event()
        watching = asyncio.create_task(self._watch(scope, user, over))
        try:
            if not await run_until(over, self._app, scope, receive, send) and over.is_set():
                await self._over(scope, receive, send)
        finally:
            watching.cancel()
            self._open[actor] -= 1
            if not self._open[actor]:
                del self._open[actor]

    async def _watch(self, scope: Scope, user: AuthenticatedUser, over: asyncio.Event) -> None:
        """Set ``over`` once the token names somebody else, or allows something else, than it did."""
        token = Headers(scope=scope)["authorization"].partition(" ")[2]
        now = asyncio.get_running_loop().time
        confirmed_at = now()
        try:
            while now() - confirmed_at < UNCONFIRMED_SECONDS:
                await asyncio.sleep(AGAIN_SECONDS)
                try:
                    principal = await self._verifier.principal(token)
                except IdentityUnknown:
                    continue
                if principal is None or (principal.actor, sorted(principal.scopes)) != (user.username, user.scopes):
                    return
                confirmed_at = now()
        finally:
            over.set()
