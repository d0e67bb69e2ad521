"""Values on their way into CEL and out of it: what passes, and as what.

Going in, the library cuts a text at its first NUL, fails obscurely on lone surrogates, takes integers from 2^63 for
another type, and crashes on deep nesting. Coming out, a failure looks like a text, an optional cannot be converted, and
bytes, types, NaN and infinities are no JSON. All of that ends here, as ``Unusable``.
"""

from __future__ import annotations

import ctypes
import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from mcp_workflows.definition.expressions.library import ERROR, Value

Json = Any

DEPTH = 64
"""Levels of lists and maps in one value."""
_SIZE = 4_000_000
"""Elements and characters, roughly, of one result: what a run can keep is 1 MiB."""
_LOW, _HIGH = -(1 << 63), (1 << 63) - 1
_give_reference = ctypes.pythonapi.Py_IncRef
_give_reference.argtypes = [ctypes.py_object]
_give_reference.restype = None
_MAYBE_ERROR = re.compile(r"[A-Z_]+: ")


class Absent:
    """The type of ``ABSENT``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = Absent()
"""What an optional expression gives where there is no value."""


class Unusable(ValueError):
    """There is no usable value; the message says why."""


class Failure(Exception):
    """An evaluation failed; the message is the library's."""


def checked(value: Json, depth: int = DEPTH) -> Json:
    """A copy of ``value`` as CEL may be given it: instants as text, texts that arrive whole. Raises ``Unusable``."""
    kind = cast("type[object]", type(value))
    if kind is str:
        return _checked_text(value)
    if kind is dict:
        _check_depth(depth)
        entries = cast("dict[Any, Json]", value)
        return {_checked_key(key): checked(part, depth - 1) for key, part in entries.items()}
    if kind is list:
        _check_depth(depth)
        return [checked(part, depth - 1) for part in cast("list[Json]", value)]
    return scalar(value)


def check_bounds(value: Json, depth: int = DEPTH) -> None:
    """Depth, integers and numbers as a value may have them. Raises ``Unusable``."""
    if isinstance(value, dict):
        _check_depth(depth)
        for part in cast("dict[str, Json]", value).values():
            check_bounds(part, depth - 1)
    elif isinstance(value, list):
        _check_depth(depth)
        for part in cast("list[Json]", value):
            check_bounds(part, depth - 1)
    elif type(value) is not str:
        scalar(value)


def _check_depth(depth: int) -> None:
    if depth <= 0:
        raise Unusable(f"a value is nested deeper than {DEPTH} levels")


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
        kind = cast("type[object]", type(plain))
        if plain is None:
            # The library gives out a reference to None that it does not own. Where None is mortal (before Python 3.12),
            # some thousands of nulls would end the process.
            _give_reference(None)
            return None
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
            # The library's maps have another order in each process; what is sent again must be the same to the byte.
            return {key: self.convert(plain[key], depth - 1) for key in sorted(map(self._key, plain))}
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


def kind_name(value: Json) -> str:
    """The kind of a JSON value, in words."""
    match value:
        case None:
            return "null"
        case bool():
            return "a bool"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case _:
            return "a map"
