"""Durations as authors write them: ``250ms``, ``1h30m``, or ISO 8601 ``PT90S``."""

from __future__ import annotations

import re

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")
_WHOLE = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhd]))+")
_ISO = re.compile(
    r"P(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?=\d)(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:[.,]\d+)?)S)?)?"
)
_ISO_SECONDS = {"weeks": 604800.0, "days": 86400.0, "hours": 3600.0, "minutes": 60.0, "seconds": 1.0}
LONGEST_SECONDS = 100 * 365.25 * 86400
"""A hundred years: instants stay within what every clock and store can hold."""

PATTERN = r"^((\d+(\.\d+)?(ms|s|m|h|d))+|P(?=.)(\d+W)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+([.,]\d+)?S)?)?)$"
"""The same as a JSON Schema pattern, for editors."""


def parse_duration(value: object) -> float:
    """Seconds. Raises ``ValueError`` with a sentence for the author."""
    text = value.strip() if isinstance(value, str) else value
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise ValueError("expected a duration such as 90s, 15m, 2h or 3d")  # noqa: TRY004
    if not isinstance(text, str) or re.fullmatch(r"\d+(\.\d+)?", text):
        raise ValueError(f'"{text}" needs a unit: 90s, 15m, 2h, 3d')
    seconds = _short_form(text) if _WHOLE.fullmatch(text) else _iso_form(text)
    if seconds is None:
        raise ValueError(f'"{text[:40]}" is no duration; write 90s, 15m, 2h, 3d, 1h30m or PT90S')
    if seconds > LONGEST_SECONDS:
        raise ValueError(f'"{text[:40]}" is longer than 100 years')
    return seconds


def _short_form(text: str) -> float | None:
    parts = _PART.findall(text)
    units = [unit for _, unit in parts]
    if len(set(units)) != len(units):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _iso_form(text: str) -> float | None:
    match = _ISO.fullmatch(text)
    if match is None or not any(match.groupdict().values()):
        return None
    return sum(
        float(number.replace(",", ".")) * _ISO_SECONDS[unit]
        for unit, number in match.groupdict().items()
        if number is not None
    )
