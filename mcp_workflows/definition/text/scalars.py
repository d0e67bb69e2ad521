"""Numbers and texts as both readers take them: what JSON and every store can keep, nothing else."""

from __future__ import annotations

import math
import re

from mcp_workflows.definition.text.nodes import TextRefused

_SURROGATE = re.compile(r"[\ud800-\udfff]")
_LONGEST = 30
"""Digits: no integer within the bounds is written longer, and converting a very long one takes quadratic time."""


def int_of(digits: str, base: int, start: int) -> int:
    value = int(digits, base) if len(digits.lstrip("+-0")) <= _LONGEST * (4 if base < 10 else 1) else 1 << 70
    if not -(1 << 63) <= value < 1 << 63:
        raise TextRefused(start, "an integer must fit 64 bits; quote it if it is an identifier")
    return value


def float_of(text: str, start: int) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise TextRefused(start, f"{text} is not a number that JSON can hold")
    return value


def text_of(text: str, start: int) -> str:
    """The text with surrogate pairs joined: ``\\ud83d\\ude00`` is one character."""
    if not _SURROGATE.search(text):
        return text
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise TextRefused(start, "half of a surrogate pair is no character") from None
