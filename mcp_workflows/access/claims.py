"""What an authorization server says of a token, in a JWT or when asked, and whom that names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from mcp_workflows.access.principal import Principal, is_actor, with_implied

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
        issued = "iss" not in claims or self.issuer is None or claims["iss"] == self.issuer
        if not issued or not self._is_for_us(claims.get("aud")):
            return None
        expires_at, begins_at = _instant(claims.get("exp")), _instant(claims.get("nbf", 0))
        if expires_at is None or begins_at is None:
            return None
        if not begins_at - LEEWAY_SECONDS <= now.timestamp() < expires_at + LEEWAY_SECONDS:
            return None
        actor = claims.get(self.actor_claim)
        if not is_actor(actor):
            return None
        scopes = with_implied(_words(claims.get("scope")) + _words(claims.get("scp")))
        until = datetime.fromtimestamp(min(expires_at + LEEWAY_SECONDS, 1 << 33), UTC)
        return Principal(cast("str", actor), scopes or with_implied(self.default_scopes), until)

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
