"""The functions that the language adds to CEL, and those of CEL's own that are done again with bounds.

They take and give JSON; an instant is ISO 8601 text and a duration is text such as ``90s``. All are pure; ``ValueError`` is
how they fail. They are called by ``evaluator.py`` and never by the CEL library, which leaks what it passes to Python and
what it gets back, and crashes on an optional among the arguments.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, TypeVar, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mcp_workflows.definition.expressions.values import check_bounds, iso_text, kind_name, seconds_text

Json = Any
T = TypeVar("T")

MAX_TEXT = 1 << 20
"""Characters of a text that a function may build."""
_DIRECTIVE = re.compile(r"%(.?)", re.DOTALL)
_DIRECTIVES = "AHIMSUWYZabdfjmpwyz%"
_List = list[Json]
_Map = dict[str, Json]


def _expect(value: Json, kind: type[T], taker: str) -> T:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{taker}, found {kind_name(value)}")
    return value


def get(value: Json, path: Json, default: Json = None) -> Json:
    """What is at ``path`` (keys and list indices between dots), or ``default`` where nothing or null is."""
    found = at_path(value, _expect(path, str, "get() takes a path as text"))
    return default if found is None else found


def at_path(value: Json, path: str) -> Json:
    """What is at ``path``, or ``None``."""
    for key in path.split("."):
        if isinstance(value, dict):
            value = cast("_Map", value).get(key)
        elif isinstance(value, list) and key.isascii() and key.isdigit() and len(key) < 10:
            elements = cast("_List", value)
            value = elements[int(key)] if int(key) < len(elements) else None
        else:
            return None
    return value


def from_json(text: Json) -> Json:
    """The value of a JSON text."""

    def refuse(constant: str) -> Json:
        raise ValueError(f"{constant} is no JSON")

    try:
        value = json.loads(_expect(text, str, "json() takes a text"), parse_constant=refuse)
    except RecursionError:
        raise ValueError("json(): the text is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"json(): {error}") from None
    check_bounds(value)
    return value


def to_json(value: Json) -> str:
    """The compact JSON text of a value, other scripts as they are."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_refuse)
    except RecursionError:
        raise ValueError("the value is nested too deeply for a JSON text") from None


def _refuse(value: object) -> str:
    raise ValueError(f"a value of type {type(value).__name__} is no JSON value")


def merge(first: Json, second: Json) -> _Map:
    """Both maps' entries; of a key in both, the second's."""
    return {**_expect(first, dict, "merge() takes a map"), **_expect(second, dict, "merge() takes a map")}


def total(numbers: Json) -> int | float:
    """The sum of a list; 0 of an empty one."""
    elements = cast("_List", _expect(numbers, list, "sum() takes a list"))
    if not all(type(number) in (int, float) for number in elements):
        raise ValueError("sum() takes a list of numbers")
    result = sum(elements)
    check_bounds(result)
    return result


def sort_by(elements: Json, path: Json) -> _List:
    """The list in ascending order of what is at ``path``; elements without it come last, in their order."""
    where = _expect(path, str, "sort_by() takes a path as text")
    keyed = [
        (at_path(element, where), element)
        for element in cast("_List", _expect(elements, list, "sort_by() takes a list"))
    ]
    present = [pair for pair in keyed if pair[0] is not None]
    kinds = sorted({kind_name(key) for key, _ in present})
    if len(kinds) > 1 or not {"a map", "a list"}.isdisjoint(kinds):
        raise ValueError(f'sort_by("{where}") needs keys of one kind that has an order, found {" and ".join(kinds)}')
    present.sort(key=lambda pair: pair[0])
    return [element for _, element in present] + [element for key, element in keyed if key is None]


def to_map(pairs: Json) -> _Map:
    """The map of ``[[key, value], …]``."""
    result: _Map = {}
    for pair in cast("_List", _expect(pairs, list, "to_map() takes a list")):
        match pair:
            case [str() as key, value]:
                if key in result:
                    raise ValueError(f'to_map(): the key "{key}" comes twice')
                result[key] = value
            case _:
                raise ValueError("to_map() takes a list of [key, value] with text keys")
    return result


def compact(value: Json) -> Json:
    """The list or map without nulls, at its top level."""
    if isinstance(value, dict):
        return {key: part for key, part in cast("_Map", value).items() if part is not None}
    return [part for part in cast("_List", _expect(value, list, "compact() takes a list or a map")) if part is not None]


def time(text: Json, zone: Json = "UTC") -> str:
    """The instant of an ISO 8601 date or date and time, in ``zone`` unless the text has an offset."""
    return iso_text(_instant(text, "time()", _zone(zone)))


def format_instant(instant: Json, pattern: Json, zone: Json = "UTC") -> str:
    """The instant as text by C's ``strftime`` directives, in ``zone``. The names of days and months are English."""
    written = _expect(pattern, str, "format() takes a pattern as text")
    for directive in cast("list[str]", _DIRECTIVE.findall(written)):
        if not directive or directive not in _DIRECTIVES:
            raise ValueError(f'format(): "%{directive}" is no directive; there are %{" %".join(_DIRECTIVES)}')
    try:
        return _instant(instant, "format()", UTC).astimezone(_zone(zone)).strftime(written)
    except (OverflowError, UnicodeError):
        raise ValueError("format(): the instant or the pattern is out of range") from None


def days(count: Json) -> str:
    """A duration of whole days, which CEL's own ``duration`` has no unit for."""
    if abs(_expect(count, int, "days() takes a whole number")) > 3_652_500:
        raise ValueError("days(): more than 10,000 years")
    return seconds_text(timedelta(days=count))


def _instant(text: Json, taker: str, zone: tzinfo) -> datetime:
    try:
        instant = datetime.fromisoformat(_expect(text, str, f"{taker} takes an instant").strip())
        return (instant if instant.tzinfo is not None else instant.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError:
        raise ValueError(f'{taker}: "{text[:40]}" is out of range') from None
    except ValueError as error:
        if taker in str(error):
            raise
        raise ValueError(f'{taker}: "{text[:40]}" is no ISO 8601 date or time') from None


def _zone(name: Json) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(_expect(name, str, "a time zone is a text"))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f'"{str(name)[:40]}" is no time zone (such as Europe/Berlin)') from None


# CEL's own, whose cost or result can be out of all proportion to what they are given.


def size(value: Json) -> int:
    """``size(value)``, ``value.size()``: without converting all of a value to count it."""
    match value:
        case str() | list() | dict():
            return len(cast("str | _List | _Map", value))
        case _:
            raise ValueError(f"size() takes a text, a list or a map, found {kind_name(value)}")


def replace(text: Json, old: Json, new: Json, limit: Json = -1) -> str:
    """``text.replace(old, new[, limit])``."""
    whole, part, by = (_expect(argument, str, "replace() takes texts") for argument in (text, old, new))
    count = len(whole) + 1 if not part else whole.count(part)
    most = _expect(limit, int, "replace() takes a number as limit")
    _check_size(len(whole) + (count if most < 0 else min(count, most)) * (len(by) - len(part)), "replace")
    return whole.replace(part, by, max(most, -1))


def join(elements: Json, separator: Json = "") -> str:
    """``list.join([separator])``."""
    texts = [
        _expect(text, str, "join() takes a list of texts")
        for text in cast("_List", _expect(elements, list, "join() takes a list"))
    ]
    between = _expect(separator, str, "join() takes a text")
    _check_size(sum(map(len, texts)) + len(between) * len(texts), "join")
    return between.join(texts)


def contains(text: Json, part: Json) -> bool:
    """``text.contains(part)``, in linear time."""
    return _expect(part, str, "contains() takes a text") in _expect(text, str, "contains() takes a text")


def index_of(text: Json, part: Json, start: Json = 0) -> int:
    """``text.indexOf(part[, start])``, in linear time."""
    whole = _expect(text, str, "indexOf() takes a text")
    if not 0 <= _expect(start, int, "indexOf() takes a number") <= len(whole):
        raise ValueError(f"indexOf(): {start} is outside of the text")
    return whole.find(_expect(part, str, "indexOf() takes a text"), start)


def split(text: Json, separator: Json, limit: Json = -1) -> list[str]:
    """``text.split(separator[, limit])``."""
    whole, by = _expect(text, str, "split() takes a text"), _expect(separator, str, "split() takes a text")
    most = _expect(limit, int, "split() takes a number as limit")
    if most == 0:
        return []
    if by:
        return whole.split(by, most - 1 if most > 0 else -1)
    return list(whole) if most < 0 or most >= len(whole) else [*whole[: most - 1], whole[most - 1 :]]


def number_range(count: Json) -> list[int]:
    """``lists.range(count)``."""
    if _expect(count, int, "lists.range() takes a number") > 10_000:
        raise ValueError(f"lists.range({count}): the limit is 10,000")
    return list(range(count))


def set_contains(whole: Json, part: Json) -> bool:
    """``sets.contains``, in linear time."""
    return _set(part) <= _set(whole)


def set_equivalent(first: Json, second: Json) -> bool:
    """``sets.equivalent``, in linear time."""
    return _set(first) == _set(second)


def set_intersects(first: Json, second: Json) -> bool:
    """``sets.intersects``, in linear time."""
    return not _set(first).isdisjoint(_set(second))


def _set(elements: Json) -> set[object]:
    return {_hashable(element) for element in cast("_List", _expect(elements, list, "sets take lists"))}


def _hashable(value: Json) -> object:
    """Equal for values that CEL holds equal: 1 is 1.0, but true is not 1."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, list):
        return ("list", *map(_hashable, cast("_List", value)))
    if isinstance(value, dict):
        return ("map", frozenset((key, _hashable(part)) for key, part in cast("_Map", value).items()))
    return value


def _check_size(size: int, name: str) -> None:
    if size > MAX_TEXT:
        raise ValueError(f"{name}() would give a text of {size:,} characters; the limit is {MAX_TEXT:,}")


BOUNDED: Mapping[str, Callable[..., Json]] = {
    "replace": replace,
    "join": join,
    "contains": contains,
    "indexOf": index_of,
    "split": split,
    "lists.range": number_range,
    "sets.contains": set_contains,
    "sets.equivalent": set_equivalent,
    "sets.intersects": set_intersects,
}
"""By CEL's name, what is called instead of CEL's own."""
