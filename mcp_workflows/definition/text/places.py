"""Lines and columns: of any character of a text, and of any character of a scalar's value in the text that wrote it.

The second is what puts an error on the right name inside an expression, whether the scalar is plain, quoted, folded over
lines or a block. It is worked out only when there is an error to place.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cached_property

from mcp_workflows.definition.text.nodes import Scalar

_PREFIX = re.compile(r"(?:[&!]\S*\s+)+")
_ESCAPE_LENGTH = {"x": 4, "u": 6, "U": 10}


class SourceText:
    """A definition's text and the places in it. Line ends are ``\\n``; lines and columns count from 1."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(match.end() for match in re.finditer("\n", self.text))]

    def place(self, index: int) -> tuple[int, int]:
        """Line and column of the character at ``index``."""
        line = bisect_right(self._line_starts, index)
        return line, index - self._line_starts[line - 1] + 1

    def index_in(self, scalar: Scalar, offset: int) -> int:
        """Where the character at ``offset`` of the scalar's value stands in the text; the scalar's start where unknown."""
        if not isinstance(scalar.value, str):
            return scalar.start
        raw = self.text[scalar.start : scalar.end]
        prefix = _PREFIX.match(raw)  # a text that begins with & or ! is quoted
        begin = prefix.end() if prefix else 0
        raw = raw[begin:]
        if scalar.style in ("'", '"'):
            found = _in_quoted(raw, scalar.style, scalar.value, offset)
        else:
            found = _in_lines(raw, scalar.value, offset, block=scalar.style is not None)
        return scalar.start if found is None else scalar.start + begin + found


def _in_lines(raw: str, value: str, offset: int, *, block: bool) -> int | None:
    """Plain and block scalars: each line of the text stands in the value as it is, only the breaks between differ."""
    at_raw = raw.index("\n") + 1 if block and "\n" in raw else 0
    at_value = 0
    for line in raw[at_raw:].split("\n"):
        words = line.strip(" \t")
        if words:
            found = value.find(words, at_value)
            if found < 0:
                return None
            lead = len(line) - len(line.lstrip(" \t"))
            if offset < found + len(words):
                return at_raw + lead + max(offset - found, 0)
            at_value = found + len(words)
        at_raw += len(line) + 1
    return None


def _in_quoted(raw: str, quote: str, value: str, offset: int) -> int | None:
    """Quoted scalars, character by character: escapes are one character of the value, a folded line break one or more."""
    at_raw = 1
    at_value = 0
    while at_value < len(value) and at_raw < len(raw):
        width, count = _quoted_unit(raw, at_raw, quote)
        if count and at_value <= offset < at_value + count:
            return at_raw
        at_raw += width
        at_value += count
    return None


def _quoted_unit(raw: str, at: int, quote: str) -> tuple[int, int]:
    """How many characters of the text, from ``at``, stand for how many characters of the value."""
    character = raw[at]
    if quote == "'" and character == "'":
        return 2, 1
    if quote == '"' and character == "\\":
        following = raw[at + 1 : at + 2]
        if following == "\n":
            rest = raw[at + 2 :]
            return 2 + len(rest) - len(rest.lstrip(" \t")), 0
        width = _ESCAPE_LENGTH.get(following, 2)
        pair = re.match(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..", raw[at : at + 12])
        return (12 if pair else width), 1
    if character in " \t\n":
        run = re.compile(r"[ \t\n]*").match(raw, at)
        assert run is not None
        breaks = run.group().count("\n")
        if breaks:
            return run.end() - at, max(1, breaks - 1)
    return 1, 1
