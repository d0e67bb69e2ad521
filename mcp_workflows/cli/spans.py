"""Spans of time and instants as people read them."""

from __future__ import annotations

from datetime import datetime


def span(seconds: float) -> str:
    """``40 ms``, ``1.3 s``, ``2 min 5 s``, ``3 h 20 min``, ``2 days 4 h``."""
    if seconds < 0.9995:
        return f"{max(seconds, 0.0) * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, smaller, small_unit in ((86400, "days", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            count, rest = divmod(whole, size)
            unit = "day" if unit == "days" and count == 1 else unit
            return f"{count} {unit}" + (f" {rest // smaller} {small_unit}" if rest // smaller else "")
    return f"{whole} s"


def due(when: datetime, now: datetime) -> str:
    """What is to happen then: ``22 Nov 13:02:11 (in 40 s)``, ``22 Nov 13:02:11 (2 min 5 s overdue)``."""
    left = (when - now).total_seconds()
    return f"{clock_time(when)} " + (f"({span(-left)} overdue)" if left <= -1.0 else f"(in {span(left)})")


def clock_time(when: datetime) -> str:
    """In the zone of this machine, with the day: ``22 Nov 13:02:11``."""
    return f"{when.astimezone():%d %b %H:%M:%S}"
