"""Sessions of the handshake era: how many of them one actor may keep.

Clients leave without a word, and a session that nobody uses is kept for half an hour. So whoever opens many ends those of their
own that were not used for longest, and clients of these are told to begin anew. The sessions of others are not touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.streamable_http import MCP_SESSION_ID_HEADER
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_EACH: Final = 100
"""Of one actor with a token."""
MOST_UNNAMED: Final = 1000
"""Where nobody says who they are, of all."""
_HEADER: Final = MCP_SESSION_ID_HEADER.encode()


@dataclass(slots=True)
class _Session:
    under_way: int = 0
    """Requests, and streams."""


class Sessions:
    """``app``, which keeps sessions, for actors that may keep so many."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._kept: dict[str, dict[str, _Session]] = {}
        """By actor and id, those that were used last at the end."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        user = scope.get("user")
        actor, most = (user.username, MOST_EACH) if isinstance(user, AuthenticatedUser) else ("", MOST_UNNAMED)
        kept = self._kept.setdefault(actor, {})
        named = Headers(scope=scope).get(MCP_SESSION_ID_HEADER)
        if named is None:
            await self._app(scope, receive, _noting(send, kept))
            while len(kept) > most:
                await self._end(_least_used(kept), kept, scope)
        elif (session := kept.pop(named, None)) is None:
            await self._app(scope, receive, send)
        else:
            kept[named] = session
            session.under_way += 1
            try:
                await self._app(scope, receive, send)
            finally:
                session.under_way -= 1
                if kept.pop(named, None) is not None and scope["method"] != "DELETE":
                    kept[named] = session

    async def _end(self, session_id: str, kept: dict[str, _Session], scope: Scope) -> None:
        """As its client would. It may have ended by itself."""
        del kept[session_id]
        host = [(name, value) for name, value in scope["headers"] if name == b"host"]
        ending: dict[str, Any] = {**scope, "method": "DELETE", "headers": [*host, (_HEADER, session_id.encode())]}

        async def nothing() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def to_nobody(_message: Message) -> None:
            pass

        await self._app(ending, nothing, to_nobody)


def _noting(send: Send, kept: dict[str, _Session]) -> Send:
    """Notes the session that an answer opens."""

    async def send_and_note(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] < 300:
            opened = next((value for name, value in message["headers"] if name.lower() == _HEADER), None)
            if opened is not None:
                kept[opened.decode("latin-1")] = _Session()
        await send(message)

    return send_and_note


def _least_used(kept: dict[str, _Session]) -> str:
    """Of those on which nothing is under way, if there are any."""
    return next((one for one, session in kept.items() if not session.under_way), next(iter(kept)))
