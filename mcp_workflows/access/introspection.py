"""Tokens that only their issuer can read: it is asked (RFC 7662), and its answer is good for half a minute.

So a token that is taken back ends within that time, and a busy client does not have the issuer asked for every request. Tokens
that were good when they were last looked at are asked about, and remembered, beside those that nobody has seen, of which only a
few are asked about at a time: whoever sends made-up ones stands in nobody's way but that of new ones.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from mcp_workflows.access.claims import Reading
from mcp_workflows.access.fetching import Server
from mcp_workflows.access.principal import Principal
from mcp_workflows.access.token_file import PREFIX
from mcp_workflows.access.trouble import Trouble
from mcp_workflows.clock import Clock
from mcp_workflows.errors import IdentityUnknown

T = TypeVar("T")

GOOD_FOR: Final = timedelta(seconds=30)
_MOST = 10_000
_AT_ONCE: Final = 20
"""Questions about tokens that were good, and as many about those that are new."""
_IN_LINE: Final = 200
"""Of new ones; beyond that nobody is let in by one."""


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
        self._good: OrderedDict[bytes, tuple[datetime, Principal]] = OrderedDict()
        self._bad: OrderedDict[bytes, datetime] = OrderedDict()
        """By hash of the token, until when that is known."""
        self._of_known, self._of_new = asyncio.Semaphore(_AT_ONCE), asyncio.Semaphore(_AT_ONCE)
        self._in_line = 0
        self._trouble = Trouble("the introspection of tokens")

    async def principal(self, token: str) -> Principal | None:
        """Raises ``IdentityUnknown`` where the issuer does not answer."""
        if token.startswith(PREFIX):
            return None  # one of ours that is not in the file any more: nobody else is to see it
        key = hashlib.sha256(token.encode()).digest()
        now = self._clock()
        known = self._good.get(key)
        if known is not None and now < known[0]:
            return known[1]
        if now < self._bad.get(key, now):
            return None
        claims = await (self._ask_of_new(token) if known is None else self._ask_of_known(token))
        found = self._reading.principal(claims, now) if claims.get("active") is True else None
        if found is None:
            self._good.pop(key, None)
            _remember(self._bad, key, now + GOOD_FOR)
        else:
            until = now + GOOD_FOR if found.expires_at is None else min(now + GOOD_FOR, found.expires_at)
            _remember(self._good, key, (until, found))
        return found

    async def _ask_of_known(self, token: str) -> Mapping[str, Any]:
        async with self._of_known:
            return await self._ask(token)

    async def _ask(self, token: str) -> Mapping[str, Any]:
        form = {"token": token, "token_type_hint": "access_token"}
        try:
            told = await self._server.post(self._url, form, self._credentials)
        except IdentityUnknown as unknown:
            self._trouble.goes_on(str(unknown))
            raise
        self._trouble.is_over()
        return told

    async def _ask_of_new(self, token: str) -> Mapping[str, Any]:
        if self._in_line >= _IN_LINE:
            raise IdentityUnknown("Too many tokens that were not seen before wait to be looked at.")
        self._in_line += 1
        try:
            async with self._of_new:
                return await self._ask(token)
        finally:
            self._in_line -= 1

    async def close(self) -> None:
        await self._server.close()


def _remember(answers: OrderedDict[bytes, T], key: bytes, answer: T) -> None:
    answers[key] = answer
    answers.move_to_end(key)
    if len(answers) > _MOST:
        answers.popitem(last=False)
