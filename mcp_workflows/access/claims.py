"""What an authorization server says of a token, in a JWT or when asked, and whom that names."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from mcp_workflows.access.principal import Principal, is_actor, with_implied

logger = logging.getLogger(__name__)

LEEWAY_SECONDS = 10
"""By how much the clocks of two machines may differ."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How claims are read. ``audience``: whom tokens must be issued for."""

    audience: str
    issuer: str | None = None
    actor_claim: str = "sub"
    default_scopes: tuple[str, ...] = ()
    """What a token allows that names no scope of ours."""

    def principal(self, claims: Mapping[str, Any], now: datetime) -> Principal | None:
        """``None``: they are not of this issuer, not for this server, not valid now, or name nobody who could be recorded."""
        wrong = self._wrong(claims, now)
        if wrong is not None:
            logger.debug("a token is refused: %.300s", wrong)
            return None
        actor, expires_at = cast("str", claims[self.actor_claim]), cast("float", claims["exp"])
        scopes = with_implied(_words(claims.get("scope")) + _words(claims.get("scp")))
        until = datetime.fromtimestamp(min(expires_at + LEEWAY_SECONDS, 1 << 33), UTC)
        return Principal(actor, scopes or with_implied(self.default_scopes), until)

    def _wrong(self, claims: Mapping[str, Any], now: datetime) -> str | None:
        if "iss" in claims and self.issuer is not None and claims["iss"] != self.issuer:
            return f"it is of {claims['iss']!r}, and not of {self.issuer!r}"
        if not self._is_for_us(claims.get("aud")):
            return f"its aud is {claims.get('aud')!r}, and not {self.audience!r}"
        expires_at, begins_at = _instant(claims.get("exp")), _instant(claims.get("nbf", 0))
        if expires_at is None or begins_at is None:
            return f"its exp is {claims.get('exp')!r}, its nbf {claims.get('nbf')!r}"
        if not begins_at - LEEWAY_SECONDS <= now.timestamp() < expires_at + LEEWAY_SECONDS:
            return f"it is good from {begins_at:.0f} to {expires_at:.0f}, and now is {now.timestamp():.0f}"
        if not is_actor(actor := claims.get(self.actor_claim)):
            return f"its {self.actor_claim} is {actor!r}, which names no actor"
        return None

    def _is_for_us(self, audience: object) -> bool:
        audiences = cast("list[object]", audience) if isinstance(audience, list) else [audience]
        return any(
            isinstance(one, str) and one.removesuffix("/") == self.audience.removesuffix("/") for one in audiences
        )


def _instant(value: object) -> float | None:
    """Seconds since the epoch; ``None``: it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < 1 << 53 else None


def _words(value: object) -> list[str]:
    """``scope`` is one text with spaces; ``scp`` is that, or a list."""
    if isinstance(value, str):
        return value.split()
    return [one for one in cast("list[object]", value) if isinstance(one, str)] if isinstance(value, list) else []
