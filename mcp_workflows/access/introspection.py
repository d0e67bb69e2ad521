"""Tokens that only their issuer can read: it is asked (RFC 7662), and its answer is good for half a minute.

So a token that is taken back ends within that time, and a busy client does not have the issuer asked for every request.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Final

from mcp_workflows.access.claims import Reading
from mcp_workflows.access.fetching import Server
from mcp_workflows.access.principal import Principal
from mcp_workflows.access.token_file import PREFIX
from mcp_workflows.clock import Clock

GOOD_FOR: Final = timedelta(seconds=30)
_MOST = 10_000


class Introspection:
    """``credentials`` are the client's that this server is to the issuer."""

    def __init__(
        self, server: Server, url: str, credentials: tuple[str, str] | None, reading: Reading, clock: Clock
    ) -> None:
        self._server = server
        self._url = url
        self._credentials = credentials
        self._reading = reading
        self._clock = clock
        self._answers: OrderedDict[bytes, tuple[datetime, Principal | None]] = OrderedDict()

    async def principal(self, token: str) -> Principal | None:
        """Raises ``IdentityUnknown`` where the issuer does not answer."""
        if token.startswith(PREFIX):
            return None  # one of ours that is not in the file any more: nobody else is to see it
        key = hashlib.sha256(token.encode()).digest()
        now = self._clock()
        known = self._answers.get(key)
        if known is not None and now < known[0]:
            return known[1]
        claims = await self._server.post(
            self._url, {"token": token, "token_type_hint": "access_token"}, self._credentials
        )
        found = self._reading.principal(claims, now) if claims.get("active") is True else None
        until = now + GOOD_FOR
        if found is not None and found.expires_at is not None:
            until = min(until, found.expires_at)
        self._answers[key] = until, found
        self._answers.move_to_end(key)
        while len(self._answers) > _MOST:
            self._answers.popitem(last=False)
        return found

    async def close(self) -> None:
        await self._server.close()
