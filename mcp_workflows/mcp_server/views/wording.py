"""How instants, ages and long texts are put into words for a model: short, and the same everywhere."""

from __future__ import annotations

from datetime import UTC, datetime

_UNITS = ((86400, "days"), (3600, "h"), (60, "min"))


def age(seconds: float) -> str:
    """``41 s``, ``12 min``, ``3 h``, ``2 days``: rounded down, never negative."""
    for size, unit in _UNITS:
        if seconds >= 2 * size or (seconds >= size and unit != "days"):
            return f"{int(seconds // size)} {unit}"
    return f"{max(int(seconds), 0)} s"


def ago(then: datetime, now: datetime) -> str:
    """``41 s ago``."""
    return f"{age((now - then).total_seconds())} ago"


def instant(when: datetime) -> str:
    """``2026-11-25T13:00:00Z``: to the second, in UTC."""
    return when.astimezone(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")


def day_and_time(when: datetime) -> str:
    """``25 Nov 13:00 UTC``."""
    return f"{when.astimezone(UTC):%d %b %H:%M} UTC"


def clean(text: str) -> str:
    """Without halves of surrogate pairs, as a variable of the environment may hold: no transport could carry them."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def cut(text: str, limit: int) -> str:
    """At most ``limit`` characters; what was cut off is said to be."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
