"""The only place that reads a clock or rolls dice for ids; everything below takes ``now`` as an argument."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


def utc_now() -> datetime:
    """The instant, timezone-aware, in UTC."""
    return datetime.now(UTC)


def new_id(prefix: str) -> str:
    """``prefix`` and 26 characters of Crockford's base32: 130 random bits, not guessable."""
    bits = secrets.randbits(130)
    return prefix + "".join(_CROCKFORD[(bits >> shift) & 31] for shift in range(125, -1, -5))
