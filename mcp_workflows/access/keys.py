"""The public keys of an issuer (JWKS): fetched when first needed, again when a key is not known, and again after a while.

A key that the issuer has withdrawn is taken no longer than until the next look. While the issuer cannot be reached its keys
are good for an hour; after that nobody can be let in by them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from mcp_workflows.access.fetching import Server
from mcp_workflows.access.trouble import Trouble
from mcp_workflows.errors import IdentityUnknown

Jwk = Mapping[str, Any]

FRESH_SECONDS: Final = 600.0
STALE_SECONDS: Final = 3600.0
APART_SECONDS: Final = 10.0
"""Between two looks for keys that are not known: whoever sends made-up tokens must not have the issuer asked for each."""
RETRY_SECONDS: Final = 1.0
"""Between two looks while there are no keys that could be used."""
_WELL_KNOWN = ("oauth-authorization-server", "openid-configuration")


class Keys:
    """Of ``issuer``, at ``url``, or where its metadata says. ``now``: any steady clock, in seconds."""

    def __init__(self, server: Server, issuer: str, url: str | None, now: Callable[[], float]) -> None:
        self._server = server
        self._issuer = issuer
        self._url = url
        self._now = now
        self._keys: Sequence[Jwk] = ()
        self._fetched_at: float | None = None
        self._looked_at: float | None = None
        self._looks = 0
        self._trouble = Trouble(f"the keys of {issuer}")
        """What the last look came to."""
        self._lock = asyncio.Lock()

    async def named(self, key_id: str | None) -> list[Jwk]:
        """The keys with this id; without an id the only one there is.

        Raises ``IdentityUnknown``: there are none that could be used, or this one is not known and the issuer is away.
        """
        if self._age(self._fetched_at) >= FRESH_SECONDS and (
            self._has_rested or (not self._good and self._lock.locked())
        ):
            await self._look()
        if not self._good:
            raise IdentityUnknown(self._trouble.text or f"The keys of {self._issuer} are not known yet.")
        found = self._find(key_id)
        if not found and (self._has_rested or self._lock.locked()):
            await self._look()
            found = self._find(key_id)
        if not found and self._trouble.text is not None:
            raise IdentityUnknown(self._trouble.text)  # it may be a new one
        return found

    async def close(self) -> None:
        await self._server.close()

    def _find(self, key_id: str | None) -> list[Jwk]:
        if key_id is None:
            return list(self._keys) if len(self._keys) == 1 else []
        return [key for key in self._keys if key.get("kid") == key_id]

    def _age(self, at: float | None) -> float:
        return float("inf") if at is None else self._now() - at

    @property
    def _good(self) -> bool:
        """The keys may be used, though the issuer may be away."""
        return self._age(self._fetched_at) < STALE_SECONDS

    @property
    def _has_rested(self) -> bool:
        """The issuer may be asked again."""
        return self._age(self._looked_at) >= (
            APART_SECONDS if self._trouble.text is None or self._good else RETRY_SECONDS
        )

    async def _look(self) -> None:
        """Fetch them, or wait for whoever is fetching them."""
        begun = self._looks
        async with self._lock:
            if self._looks == begun:
                await self._fetch_anew()
                self._looks += 1

    async def _fetch_anew(self) -> None:
        self._looked_at = self._now()  # so that others need not wait for this, as long as the keys are good
        try:
            self._keys = await self._fetch()
            self._fetched_at = self._now()
            self._trouble.is_over()
        except IdentityUnknown as unknown:
            self._trouble.goes_on(str(unknown))
        self._looked_at = self._now()

    async def _fetch(self) -> Sequence[Jwk]:
        told = await self._server.get(self._url or await self._discover())
        keys = told.get("keys")
        if not isinstance(keys, list):
            raise IdentityUnknown(f"{self._issuer} does not tell its keys.")
        return [cast("Jwk", key) for key in cast("list[Any]", keys) if isinstance(key, dict)]

    async def _discover(self) -> str:
        """Where the metadata of the issuer (RFC 8414, or OpenID Connect) says that its keys are."""
        last: IdentityUnknown | None = None
        for url in _places(self._issuer):
            try:
                told = await self._server.get(url)
            except IdentityUnknown as unknown:
                last = unknown
                continue
            if told.get("issuer") == self._issuer and isinstance(told.get("jwks_uri"), str):
                return cast("str", told["jwks_uri"])
            last = IdentityUnknown(f"{url} is not the metadata of {self._issuer}, or names no keys.")
        assert last is not None
        raise last


def _places(issuer: str) -> list[str]:
    scheme, _, rest = issuer.partition("://")
    host, slash, path = rest.partition("/")
    path = f"{slash}{path}".rstrip("/")
    inserted = [f"{scheme}://{host}/.well-known/{name}{path}" for name in _WELL_KNOWN]
    return [*inserted, f"{scheme}://{host}{path}/.well-known/openid-configuration"] if path else inserted
