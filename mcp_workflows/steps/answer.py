"""From the bytes of an answer to a value that may be recorded.

What a database or a later step could not hold is refused here, with the place: JSON deeper than 64, integers beyond
64 bits, NaN and infinities, NUL, halves of surrogate pairs. The usual answer pays for a look at each number and no walk.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, cast

from mcp_workflows.definition.program import Json

MAX_DEPTH = 64
_INFINITIES = frozenset({float("inf"), float("-inf")})
_INTEGERS = range(-(1 << 63), 1 << 63)
_NO_CHARSETS = frozenset(
    {"idna", "mbcs", "oem", "punycode", "raw_unicode_escape", "undefined", "unicode_escape", "utf_7"}
)
"""Codecs of Python that no service means: they are slow on purpose-made input, or let halves of surrogate pairs through."""
_DIGITS = 18
"""An integer of so many characters is within 64 bits."""
_UNSTORABLE_ESCAPE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class AnswerUnreadable(Exception):
    """The message says what is wrong, as the end of "…, but its body …"."""


@dataclass(frozen=True, slots=True)
class MediaType:
    """Of a ``Content-Type``: whether it promises JSON, or nothing at all, and the charset if it names one."""

    json: bool
    absent: bool
    charset: str | None


@lru_cache(maxsize=512)
def media_type(content_type: str) -> MediaType:
    essence, *parameters = content_type.split(";")
    essence = essence.strip().lower()
    charset = None
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip().strip('"').lower() or None
    is_json = essence in {"application/json", "text/json"} or essence.endswith("+json")
    return MediaType(is_json, not essence, charset)


def decode(raw: bytes, content_type: str, mode: Literal["auto", "json", "text", "none"]) -> Json:
    """The body as ``response:`` wants it; an empty one is null, for ``text`` the empty text. Raises ``AnswerUnreadable``."""
    if mode == "none":
        return None
    media = media_type(content_type)
    if mode == "text":
        return _storable(_decoded(raw, media.charset))
    if not raw.strip():
        return None
    if mode == "json" or media.json:
        return parsed(_decoded(raw, media.charset))
    text = _decoded(raw, media.charset)
    if media.absent and text.lstrip()[:1] in {"{", "["}:
        return parsed(text)
    return _storable(text)


def decode_leniently(raw: bytes, content_type: str, mode: Literal["auto", "json", "text", "none"]) -> Json:
    """For answers that say no: their body only explains, so whatever can be read of it is taken as text."""
    try:
        return decode(raw, content_type, mode)
    except AnswerUnreadable:
        text = raw.decode("utf-8", "replace")
        return _UNSTORABLE.sub("\ufffd", text)


def _decoded(raw: bytes, charset: str | None) -> str:
    try:
        if charset is None or charset in {"utf-8", "utf8"}:
            return str(raw, "utf-8-sig" if raw.startswith(codecs.BOM_UTF8) else "utf-8")
        known = codecs.lookup(charset).name.replace("-", "_") not in _NO_CHARSETS
        text = raw.decode(charset) if known else None
    except (LookupError, ValueError):
        text = None
    if text is None:
        name = (charset or "utf-8")[:40]
        raise AnswerUnreadable(f"is no text in {name} (for a body that is not needed: response: none)")
    return text


def _storable(text: str) -> str:
    found = _UNSTORABLE.search(text)
    if found:
        raise AnswerUnreadable(f"holds {_named(found[0])} at character {found.start()}")
    return text


def parsed(text: str) -> Json:
    """The value of a JSON text. Raises ``AnswerUnreadable``."""
    try:
        value, suspicious = _loaded(text)
    except json.JSONDecodeError as error:
        what = error.msg.removesuffix(" at")
        raise AnswerUnreadable(f"is no JSON: {what} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise AnswerUnreadable(f"is JSON nested deeper than {MAX_DEPTH}") from None
    except ValueError:
        raise AnswerUnreadable("is JSON with a number that is too long") from None
    if suspicious:
        _check(value)
    elif text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(value)
    return value


def _loaded(text: str) -> tuple[Json, bool]:
    """The value, and whether something in it has to be looked for. Raises what ``json`` does."""
    try:
        value, end = _QUICK.raw_decode(text) if text.startswith(("{", "[")) else (None, -1)
        if end != len(text) and (end < 0 or text[end:].strip(" \t\r\n")):
            value = _QUICK.decode(text)  # with space before it, or with what it complains of
    except _Suspicious:
        return _PLAIN.decode(text), True
    return value, "\\u" in text and _UNSTORABLE_ESCAPE.search(text) is not None


class _Suspicious(Exception):
    """A number may be more than a record can hold."""


def _integer(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise _Suspicious
    return int(digits)


def _real(text: str) -> float:
    number = float(text)
    if number in _INFINITIES:
        raise _Suspicious
    return number


def _no_constant(name: str) -> Json:
    raise AnswerUnreadable(f"is no JSON: it holds {name}")


_PLAIN = json.JSONDecoder(parse_constant=_no_constant)
_QUICK = json.JSONDecoder(parse_constant=_no_constant, parse_int=_integer, parse_float=_real)


def _check_depth(value: Json) -> None:
    level: list[Json] = [value]
    for _ in range(MAX_DEPTH):
        level = [child for parent in level for child in _children(parent) if type(child) is dict or type(child) is list]
        if not level:
            return
    raise AnswerUnreadable(f"is JSON nested deeper than {MAX_DEPTH}")


def _children(value: Json) -> Any:
    if type(value) is dict:
        return cast("dict[str, Any]", value).values()
    return cast("list[Any]", value) if type(value) is list else ()


def _check(value: Json) -> None:
    """Everything at once, with the place; for the few answers whose text looks as if something might be found."""
    todo: list[tuple[str, int, Json]] = [("", 0, value)]
    while todo:
        place, depth, item = todo.pop()
        match item:
            case str():
                _check_text(place, item)
            case bool() | None:
                pass
            case int():
                if item not in _INTEGERS:
                    raise AnswerUnreadable(f"holds an integer beyond 64 bits at {place or 'the top'}")
            case float():
                if item in _INFINITIES:
                    raise AnswerUnreadable(f"holds a number beyond what a double can hold at {place or 'the top'}")
            case _:
                if depth >= MAX_DEPTH:
                    raise AnswerUnreadable(f"is JSON nested deeper than {MAX_DEPTH}")
                todo.extend((name, depth + 1, child) for name, child in _named_children(place, item))


def _named_children(place: str, item: Json) -> list[tuple[str, Json]]:
    if isinstance(item, list):
        return [(f"{place}[{index}]", child) for index, child in enumerate(cast("list[Any]", item))]
    mapping = cast("Mapping[str, Any]", item)
    for key in mapping:
        _check_text(place, key)
    return [(f"{place}.{key}" if place else key, child) for key, child in mapping.items()]


def _check_text(place: str, text: str) -> None:
    found = _UNSTORABLE.search(text)
    if found:
        raise AnswerUnreadable(f"holds {_named(found[0])} at {place or 'the top'}")


def _named(character: str) -> str:
    return "a NUL character" if character == "\0" else "half of a surrogate pair"
