"""The functions that the language adds to CEL. All are pure; ``ValueError`` is how they fail.

What they get is JSON, with instants as aware datetimes; what they give back passes ``checked``, since the library cuts a
text at its first NUL when it takes it from Python.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from functools import wraps
from typing import Any, ParamSpec, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mcp_workflows.definition.expressions.values import Unusable, checked, iso_text, seconds_text

Json = Any
P = ParamSpec("P")

_DIRECTIVE = re.compile(r"%(.?)", re.DOTALL)
_DIRECTIVES = frozenset("aAbBdHIjmMpSUwWyYzZf%")
_MAX_TEXT = 1 << 20


def giving_json(function: Callable[P, Json]) -> Callable[P, Json]:
    """Let the result into CEL only if it arrives there unchanged."""

    @wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> Json:
        try:
            return checked(function(*args, **kwargs))
        except Unusable as unusable:
            raise ValueError(str(unusable)) from None

    return guarded


@giving_json
def get(value: Json, path: str, default: Json = None) -> Json:
    """What is at ``path`` (keys and list indices between dots), or ``default`` where nothing or null is."""
    found = at_path(value, path)
    return default if found is None else found


def at_path(value: Json, path: str) -> Json:
    """What is at ``path``, or ``None``."""
    for key in path.split("."):
        if isinstance(value, dict):
            value = cast("dict[str, Json]", value).get(key)
        elif isinstance(value, list) and key.isascii() and key.isdigit() and len(key) < 10:
            elements = cast("list[Json]", value)
            value = elements[int(key)] if int(key) < len(elements) else None
        else:
            return None
    return value


@giving_json
def from_json(text: str) -> Json:
    """The value of a JSON text."""

    def refuse(constant: str) -> Json:
        raise ValueError(f"{constant} is no JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise ValueError("the JSON text is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON text: {error}") from None


@giving_json
def to_json(value: Json) -> Json:
    """The compact JSON text of a value."""
    return json_text(value)


def json_text(value: Json) -> str:
    """The compact JSON text of a value, other scripts as they are."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_as_text)


def _as_text(value: object) -> str:
    if isinstance(value, datetime):
        return iso_text(value)
    if isinstance(value, timedelta):
        return seconds_text(value)
    raise ValueError(f"{type(value).__name__} cannot be written as JSON")


@giving_json
def merge(first: dict[str, Json], second: dict[str, Json]) -> Json:
    """Both maps' entries; of a key in both, the second's."""
    return first | second


@giving_json
def total(numbers: list[Json]) -> Json:
    """The sum of a list; 0 of an empty one."""
    if not all(type(number) in (int, float) for number in numbers):
        raise ValueError("sum() takes a list of numbers")
    return sum(numbers)


@giving_json
def sort_by(elements: list[Json], path: str) -> Json:
    """The list in ascending order of what is at ``path``; elements without it come last, in their order."""
    keyed = [(at_path(element, path), element) for element in elements]
    present = [pair for pair in keyed if pair[0] is not None]
    kinds = {"number" if type(key) in (int, float) else type(key).__name__ for key, _ in present}
    if len(kinds) > 1 or kinds & {"dict", "list"}:
        raise ValueError(
            f'sort_by("{path}") needs keys of one kind that has an order, found {", ".join(sorted(kinds))}'
        )
    present.sort(key=lambda pair: pair[0])
    return [element for _, element in present] + [element for key, element in keyed if key is None]


@giving_json
def to_map(pairs: list[Json]) -> Json:
    """The map of ``[[key, value], …]``."""
    result: dict[str, Json] = {}
    for key, value in _pairs(pairs):
        if key in result:
            raise ValueError(f'to_map(): the key "{key}" comes twice')
        result[key] = value
    return result


def _pairs(pairs: list[Json]) -> Iterator[tuple[str, Json]]:
    for pair in pairs:
        match pair:
            case [str() as key, value]:
                yield key, value
            case _:
                raise ValueError("to_map() takes a list of [key, value] with text keys")


@giving_json
def compact(value: Json) -> Json:
    """The list or map without nulls, at its top level."""
    if isinstance(value, dict):
        return {key: part for key, part in cast("dict[str, Json]", value).items() if part is not None}
    return [part for part in cast("list[Json]", value) if part is not None]


def time(text: str, zone: str = "UTC") -> datetime:
    """The instant of an ISO 8601 date or date and time, in ``zone`` unless the text has an offset."""
    try:
        instant = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f'time(): "{text[:40]}" is no ISO 8601 date or time') from None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=_zone(zone))
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise ValueError(f'time(): "{text[:40]}" is out of range') from None


@giving_json
def format_instant(instant: datetime, pattern: str, zone: str = "UTC") -> Json:
    """The instant as text by C's ``strftime`` directives, in ``zone``. The names of days and months are English."""
    for directive in _DIRECTIVE.findall(pattern):
        if directive not in _DIRECTIVES:
            raise ValueError(f'format(): "%{directive}" is no directive; there are %{" %".join(sorted(_DIRECTIVES))}')
    return instant.astimezone(_zone(zone)).strftime(pattern)


def days(count: int) -> timedelta:
    """A duration of whole days, which CEL's own ``duration`` has no unit for."""
    if abs(count) > 3_652_500:
        raise ValueError("days(): more than 10,000 years")
    return timedelta(days=count)


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f'"{name[:40]}" is no time zone (such as Europe/Berlin)') from None


# CEL's own functions whose cost or result can be out of all proportion to what they are given, done again with bounds.
# They stand in for the library's where a tree is guarded (``guards.py``).


@giving_json
def replace(text: str, old: str, new: str, limit: int = -1) -> Json:
    """``text.replace(old, new[, limit])``."""
    count = text.count(old)
    _limit_text(len(text) + (count if limit < 0 else min(count, limit)) * (len(new) - len(old)), "replace")
    return text.replace(old, new, limit if limit >= 0 else -1)


@giving_json
def join(elements: list[Json], separator: str = "") -> Json:
    """``list.join(separator)``."""
    if not all(isinstance(element, str) for element in elements):
        raise ValueError("join() takes a list of texts")
    _limit_text(sum(map(len, elements)) + len(separator) * len(elements), "join")
    return separator.join(elements)


def contains(text: str, part: str) -> bool:
    """``text.contains(part)``, in linear time."""
    return part in text


def index_of(text: str, part: str, start: int = 0) -> int:
    """``text.indexOf(part[, start])``, in linear time."""
    if not 0 <= start <= len(text):
        raise ValueError(f"indexOf(): {start} is outside of the text")
    return text.find(part, start)


@giving_json
def split(text: str, separator: str, limit: int = -1) -> Json:
    """``text.split(separator[, limit])``."""
    if limit == 0:
        return []
    if not separator:
        return list(text) if limit < 0 or limit >= len(text) else [*text[: limit - 1], text[limit - 1 :]]
    return text.split(separator, limit - 1 if limit > 0 else -1)


def number_range(count: int) -> list[int]:
    """``lists.range(count)``."""
    if count > 10_000:
        raise ValueError(f"lists.range({count}): the limit is 10,000")
    return list(range(count))


def set_contains(whole: list[Json], part: list[Json]) -> bool:
    """``sets.contains``, in linear time."""
    return _set(part) <= _set(whole)


def set_equivalent(first: list[Json], second: list[Json]) -> bool:
    """``sets.equivalent``, in linear time."""
    return _set(first) == _set(second)


def set_intersects(first: list[Json], second: list[Json]) -> bool:
    """``sets.intersects``, in linear time."""
    return not _set(first).isdisjoint(_set(second))


def _set(elements: list[Json]) -> set[object]:
    return {_hashable(element) for element in elements}


def _hashable(value: Json) -> object:
    """Equal for values that CEL holds equal: 1 is 1.0, but true is not 1."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, list):
        return ("list", *map(_hashable, cast("list[Json]", value)))
    if isinstance(value, dict):
        return ("map", frozenset((_hashable(k), _hashable(v)) for k, v in cast("dict[Json, Json]", value).items()))
    if isinstance(value, bytearray):
        return bytes(value)
    return value


def _limit_text(size: int, name: str) -> None:
    if size > _MAX_TEXT:
        raise ValueError(f"{name}() would give a text of {size:,} characters; the limit is {_MAX_TEXT:,}")


def text_too_long() -> bool:
    """Fails: what a guard evaluates instead of a text that would be too long."""
    raise ValueError(f"the text would be longer than {_MAX_TEXT:,} characters")


def list_too_long() -> bool:
    """Fails: what a guard evaluates when a macro has built as many elements as it may."""
    raise ValueError(
        "map and filter give at most 2,000 elements here; a longer list belongs to a jq, python or worker step"
    )
