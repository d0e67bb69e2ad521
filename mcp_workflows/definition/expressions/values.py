"""Values on their way into CEL and out of it: what passes, and as what.

Going in, the library cuts a text at its first NUL, fails obscurely on lone surrogates, takes integers from 2^63 for
another type, and crashes on deep nesting. Coming out, a failure looks like a text, an optional cannot be converted, and
bytes, types, NaN and infinities are no JSON. All of that ends here, as ``Unusable``.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from mcp_workflows.definition.expressions.library import ERROR, Value

Json = Any

DEPTH = 64
"""Levels of lists and maps in one value."""
_SIZE = 1_000_000
"""Elements and characters, roughly, of one result: what a run can keep is 1 MiB."""
_LOW, _HIGH = -(1 << 63), (1 << 63) - 1
_MAYBE_ERROR = re.compile(r"[A-Z_]+: ")


class Absent:
    """The type of ``ABSENT``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = Absent()
"""What an optional expression gives where there is no value."""


class Unusable(Exception):
    """A value that cannot pass; the message says why."""


class Failure(Exception):
    """An evaluation failed; the message is the library's."""


def checked(value: Json, depth: int = DEPTH) -> Json:
    """``value`` as CEL may be given it: JSON within bounds, instants as ISO 8601 text. Raises ``Unusable``."""
    kind = type(value)
    if kind is str:
        return _checked_text(value)
    if kind is dict:
        if depth <= 0:
            raise Unusable(f"a value is nested deeper than {DEPTH} levels")
        entries = cast("dict[Any, Json]", value)
        return {_checked_key(key): checked(part, depth - 1) for key, part in entries.items()}
    if kind is list:
        if depth <= 0:
            raise Unusable(f"a value is nested deeper than {DEPTH} levels")
        return [checked(part, depth - 1) for part in cast("list[Json]", value)]
    return scalar(value)


def scalar(value: Any) -> Json:
    """A value without parts, as JSON. Raises ``Unusable``."""
    match value:
        case None | bool() | str():
            return value
        case int():
            if not _LOW <= value <= _HIGH:
                raise Unusable("an integer is outside of ±2^63")
            return value
        case float():
            if not math.isfinite(value):
                raise Unusable("a number is infinite or not a number (NaN)")
            return value
        case datetime():
            return iso_text(value)
        case timedelta():
            return seconds_text(value)
        case bytes() | bytearray():
            raise Unusable("bytes are no JSON value: use base64.encode(…) or string(…)")
        case _:
            raise Unusable(f"a value of type {type(value).__name__} is no JSON value")


def _checked_text(text: str) -> str:
    if "\0" in text:
        raise Unusable("a text with the character NUL cannot be computed with")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Unusable("a text with half of a surrogate pair (broken Unicode) cannot be computed with") from None
    return text


def _checked_key(key: Any) -> str:
    if type(key) is not str:
        raise Unusable(f"a key of a map must be text, found {key!r}")
    return _checked_text(key)


def iso_text(instant: datetime) -> str:
    """ISO 8601 in UTC as CEL writes it: no fraction, or 3 or 6 digits of it."""
    if instant.tzinfo is None:
        raise Unusable("an instant needs a time zone")
    utc = instant.astimezone(UTC).replace(tzinfo=None)
    digits = "seconds" if not utc.microsecond else "microseconds" if utc.microsecond % 1000 else "milliseconds"
    return utc.isoformat(timespec=digits) + "Z"


def seconds_text(duration: timedelta) -> str:
    """A duration as CEL writes it: ``90s``, ``0.250s``."""
    micros = duration // timedelta(microseconds=1)
    sign = "-" if micros < 0 else ""
    seconds, fraction = divmod(abs(micros), 1_000_000)
    if not fraction:
        return f"{sign}{seconds}s"
    return f"{sign}{seconds}.{fraction // 1000:03d}s" if fraction % 1000 == 0 else f"{sign}{seconds}.{fraction:06d}s"


def from_cel(value: Value) -> Json:
    """The JSON that an evaluation gave. Raises ``Unusable``, and ``Failure`` for a failed evaluation.

    Converted level by level: asking the library for a whole value crashes on an optional inside.
    """
    return _Conversion().convert(value, DEPTH)


class _Conversion:
    """One result, with the room that is left in it."""

    __slots__ = ("_room",)

    def __init__(self) -> None:
        self._room = _SIZE

    def convert(self, value: Value, depth: int) -> Json:
        try:
            plain = value.value()
        except TypeError:
            raise Unusable('it holds an optional: write {?"key": …} or [?…], or end it with .orValue(…)') from None
        except UnicodeDecodeError:
            raise Unusable("a text is no valid Unicode") from None
        kind = type(plain)
        if kind is str:
            if _MAYBE_ERROR.match(plain) and value.type() == ERROR:
                raise Failure(plain)
            self._take(len(plain))
            return plain
        if kind is list or kind is dict:
            if depth <= 0:
                raise Unusable(f"the value is nested deeper than {DEPTH} levels")
            self._take(len(plain) + 1)
            if kind is list:
                return [self.convert(part, depth - 1) for part in plain]
            return {self._key(key): self.convert(part, depth - 1) for key, part in plain.items()}
        return scalar(plain)

    def _key(self, key: Any) -> str:
        if type(key) is not str:
            raise Unusable(f"a key of a map must be text, found {key!r}")
        self._take(len(key))
        return key

    def _take(self, size: int) -> None:
        self._room -= size
        if self._room < 0:
            raise Unusable(f"the value is larger than {_SIZE:,} characters and elements together")
