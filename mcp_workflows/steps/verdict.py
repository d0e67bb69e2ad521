"""What an answer's status means: success, refusal or doubt, and whether another attempt may help."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache

from mcp_workflows.definition.program import Json

_RETRYABLE = frozenset({408, 425, 429})
_LONGEST_WAIT = 86_400.0


@lru_cache(maxsize=512)
def admits(success: tuple[str, ...], status: int) -> bool:
    """``success`` holds codes and classes: ``404``, ``2xx``."""
    return str(status) in success or f"{status // 100}xx" in success


def refused(status: int) -> bool:
    """The service says that it did not do it. Other than success only 4xx says so; of 5xx nobody knows."""
    return 400 <= status < 500


def retryable(status: int) -> bool:
    return status in _RETRYABLE or status >= 500


def retry_after(value: str | None, now: datetime) -> float | None:
    """``Retry-After`` in seconds from ``now``, a day at most: a number of seconds or an HTTP date (RFC 9110, 10.2.3).

    Unreadable: ``None``.
    """
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:12]), _LONGEST_WAIT)
    try:
        at = parsedate_to_datetime(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return min(max(0.0, (at - now).total_seconds()), _LONGEST_WAIT)


def header_map(headers: Mapping[str, str]) -> dict[str, str]:
    """Names in lower case, several values joined. Bytes that are no UTF-8 are read as Latin-1, which cannot fail."""
    joined: dict[str, str] = {}
    for name, value in headers.items():
        name = name.lower()
        if not value.isascii():
            value = _readable(value)
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


def _readable(value: str) -> str:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogateescape").decode("latin-1")
    return value


def explained(label: str, status: int, body: Json) -> str:
    """``POST /charges answered 422: {"error": …}``."""
    if body is None or body == "":
        return f"{label} answered {status}"
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return f"{label} answered {status}: {' '.join(text.split()) if isinstance(body, str) else text}"
