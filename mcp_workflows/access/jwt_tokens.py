"""Tokens that say themselves whom they name: JWTs, signed with a key of the issuer.

The key decides which algorithms may be used with it, and never the token: there is no ``none``, no shared secret, and a key
of one kind checks no signature of another.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

import jwt

from mcp_workflows.access.claims import Reading
from mcp_workflows.access.keys import Jwk, Keys
from mcp_workflows.access.principal import Principal
from mcp_workflows.clock import Clock

logger = logging.getLogger(__name__)

ALGORITHMS: Final = {
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "EC": ("ES256", "ES384", "ES512"),
    "OKP": ("EdDSA",),
}
"""By kind of key."""
_CURVES: Final = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "EdDSA": "Ed25519"}
_TYPES = frozenset({"", "jwt", "at+jwt", "application/at+jwt"})


class JwtTokens:
    """``reading`` names the issuer that ``keys`` are of."""

    def __init__(self, keys: Keys, reading: Reading, clock: Clock) -> None:
        assert reading.issuer is not None
        self._keys = keys
        self._reading = reading
        self._clock = clock

    async def principal(self, token: str) -> Principal | None:
        """Raises ``IdentityUnknown`` where the keys cannot be fetched."""
        header = _header(token)
        if header is None:
            return None
        algorithm, key_id = header.get("alg"), header.get("kid")
        if not any(algorithm in names for names in ALGORITHMS.values()) or not isinstance(key_id, str | None):
            return None
        for key in await self._keys.named(key_id):
            claims = _signed(token, key, str(algorithm))
            if claims is not None:
                return self._reading.principal({"iss": None, **claims}, self._clock())
        logger.debug("a token is refused: none of the issuer's keys has signed it (%.100r, %.100r)", algorithm, key_id)
        return None

    async def close(self) -> None:
        await self._keys.close()


def _header(token: str) -> Mapping[str, Any] | None:
    """``None``: it is no JWT, or one that wants something of its reader that is not done here."""
    if token.count(".") != 2:
        return None
    try:
        header: dict[str, Any] = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        return None
    if "crit" in header or "b64" in header or str(header.get("typ", "")).lower() not in _TYPES:
        return None
    return header


def _signed(token: str, key: Jwk, algorithm: str) -> Mapping[str, Any] | None:
    """The claims, if that key signed them by that algorithm."""
    kind = key.get("kty")
    fits = (
        algorithm in ALGORITHMS.get(str(kind), ())
        and key.get("alg", algorithm) == algorithm
        and key.get("use", "sig") == "sig"
        and ("crv" not in key or key["crv"] == _CURVES.get(algorithm))
    )
    if not fits:
        return None
    options: Any = {"verify_signature": True, "enforce_minimum_key_length": True} | {
        f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "iss")
    }
    try:
        return jwt.decode(token, jwt.PyJWK(dict(key), algorithm), algorithms=[algorithm], options=options)
    except (jwt.PyJWTError, ValueError, RecursionError):
        return None
