"""YAML 1.2 with the core schema, from the parser's events; and the parser's complaints in words that say what to write.

Values are resolved here and not by the library, so that ``on``, ``NO``, ``2026-11-22`` and ``1:30`` are text whatever the
library's version holds of them. The parser is a state machine; it is never asked for more once the depth limit is passed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from mcp_workflows.definition.text.nodes import Map, Scalar, Seq, TextRefused, TreeBuilder
from mcp_workflows.definition.text.scalars import float_of, int_of, text_of

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {word: word.lower() == "true" for word in ("true", "True", "TRUE", "false", "False", "FALSE")}
_INT = re.compile(r"[-+]?[0-9]+\Z")
_OCTAL = re.compile(r"0o[0-7]+\Z")
_HEX = re.compile(r"0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z")
_UNPRINTABLE = re.compile(r"[^\t\n -~\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_FOREIGN_SPACE = re.compile(
    r"^[ ]*([\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000\ufeff])\s*(?:- |[^\n:]*:(?: |$))", re.MULTILINE
)
_CLOSING = {"{": "}", "[": "]"}
_TAG = "tag:yaml.org,2002:"


def read_yaml(text: str) -> TreeBuilder:
    """Builds the tree of a YAML text whose line ends are ``\\n``. Raises ``TextRefused``."""
    if bad := _UNPRINTABLE.search(text):
        raise TextRefused(bad.start(), f"the character U+{ord(bad.group()):04X} may not stand in YAML")
    builder = TreeBuilder(merge_keys=True)
    documents = 0
    for event in _events(text):
        match type(event).__name__:
            case "DocumentStartEvent":
                documents += 1
                _one_document(event, documents)
            case "ScalarEvent":
                style = event.style or None
                start = event.start_mark.index
                scalar = Scalar(_resolve(event, start), start, event.end_mark.index, style)
                builder.scalar(scalar, event.value, event.anchor)
            case "MappingStartEvent":
                _no_tag(event, "map")
                builder.open(Map(event.start_mark.index, event.end_mark.index), event.anchor)
            case "SequenceStartEvent":
                _no_tag(event, "seq")
                builder.open(Seq(event.start_mark.index, event.end_mark.index), event.anchor)
            case "MappingEndEvent" | "SequenceEndEvent":
                builder.close(event.end_mark.index)
            case "AliasEvent":
                builder.alias(event.anchor, event.start_mark.index)
            case _:
                pass
    return builder


def _events(text: str) -> Iterator[Any]:
    try:
        parser = cast("Any", YAML(typ="safe", pure=True))
        yield from parser.parse(text)
    except MarkedYAMLError as error:
        raise _explain(text, cast("Any", error)) from None
    except YAMLError as error:
        raise TextRefused(0, str(error)) from None
    except (ValueError, OverflowError, IndexError) as error:  # an escape such as "\UFFFFFFFF"
        raise TextRefused(0, f"cannot be read: {error}") from None


def _one_document(event: Any, count: int) -> None:
    if count > 1:
        raise TextRefused(event.start_mark.index, "a file holds one workflow: a second document begins here")
    if event.version not in (None, (1, 2)):
        raise TextRefused(0, "this is read as YAML 1.2; leave out the %YAML line")


def _no_tag(event: Any, kind: str) -> None:
    tag = None if event.ctag is None else str(event.ctag)
    if tag not in (None, "!", _TAG + kind):
        raise TextRefused(event.start_mark.index, f'the tag "{_short(tag)}" is not available')


def _short(tag: str) -> str:
    return tag.replace(_TAG, "!!")


def _resolve(event: Any, start: int) -> str | int | float | bool | None:
    """The value of a scalar by the core schema, or by its tag."""
    text: str = event.value
    tag = None if event.ctag is None else str(event.ctag)
    if tag in ("!", _TAG + "str") or (tag is None and event.style):
        return text_of(text, start)
    value = _plain(text, start)
    if tag is not None:
        kinds: dict[str, type] = {"int": int, "float": float, "bool": bool, "null": type(None)}
        wanted = kinds.get(tag.removeprefix(_TAG))
        if wanted is None:
            raise TextRefused(start, f'the tag "{_short(tag)}" is not available')
        if wanted is float and type(value) is int:
            return float_of(text, start)
        if type(value) is not wanted:
            raise TextRefused(start, f'"{text}" is no {_short(tag)}')
    return value


def _plain(text: str, start: int) -> str | int | float | bool | None:
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.match(text):
        return int_of(text, 10, start)
    if _OCTAL.match(text):
        return int_of(text, 8, start)
    if _HEX.match(text):
        return int_of(text, 16, start)
    if _FLOAT.match(text):
        return float_of(text, start)
    if _NOT_FINITE.match(text):
        raise TextRefused(start, f"{text} is not a number that JSON can hold")
    return text


def _explain(text: str, error: Any) -> TextRefused:
    """What the parser says, as what is wrong and what to write instead."""
    mark: Any = error.problem_mark or error.context_mark
    at = 0 if mark is None else min(int(mark.index), len(text))
    problem = str(error.problem or error)
    if at and text[at : at + 1] == "{" and text[at - 1] == "$":
        return TextRefused(at - 1, _quote_in_flow(text, at - 1, "sequence" in str(error.context)))
    if problem.startswith("mapping values are not allowed"):
        return TextRefused(at, _colon_in_text(text, at))
    if match := re.match(r"found character '(\\t|.)' that cannot start any token", problem):
        return TextRefused(at, _cannot_start(match.group(1)))
    if space := _FOREIGN_SPACE.search(text[: text.find("\n", at) if "\n" in text[at:] else None]):
        return TextRefused(space.start(1), f"U+{ord(space[1]):04X} looks like a space and is none; indent with spaces")
    before = text[:at].rstrip(" ")
    if "found '<scalar>'" in problem and before[-1:] in ("'", '"'):
        return _after_quote(text, at, len(before) - 1)
    opening = None if error.context_mark is None else int(error.context_mark.index)
    if opening is not None and str(error.context).startswith("while parsing a flow") and "expected ','" in problem:
        return _not_closed(text, opening, at)
    if opening is not None and "expected <block end>" in problem:
        return TextRefused(at, _indentation(text, opening, at))
    if opening is not None and "end of stream" in problem:
        at = opening
    context = f"{error.context}: " if error.context else ""
    return TextRefused(at, f"{context}{problem}")


def _after_quote(text: str, at: int, closing: int) -> TextRefused:
    """A text that goes on after its closing quote; or one that was not closed, and took the next quote for its end."""
    opening = text.rfind(text[closing], 0, closing)
    if opening >= 0 and "\n" in text[opening:closing]:
        line = text.count("\n", 0, closing) + 1
        return TextRefused(opening, f"this quote is not closed, or only by the next one, at line {line}")
    return TextRefused(at, "text goes on after the closing quote; quote all of it")


def _not_closed(text: str, opening: int, at: int) -> TextRefused:
    bracket = text[opening]
    if "\n" in text[opening:at]:
        return TextRefused(opening, f'this "{bracket}" is not closed, or a comma is missing after it')
    return TextRefused(at, f'a comma is missing before this, or "{_CLOSING.get(bracket, "}")}"')


def _indentation(text: str, opening: int, at: int) -> str:
    """Neither a part of what stands above it nor beside it."""
    line, column = text.count("\n", 0, opening) + 1, opening - text.rfind("\n", 0, opening)
    here = at - text.rfind("\n", 0, at)
    held = "items" if text.startswith("- ", opening) else "keys"
    return f"the indentation fits nothing above: this begins in column {here}, the {held} from line {line} in column {column}"


def _cannot_start(character: str) -> str:
    if character in ("\t", "\\t"):
        return "a tab cannot indent YAML; use spaces"
    return f'a text cannot begin with "{character}"; quote it'


def _quote_in_flow(text: str, dollar: int, in_list: bool) -> str:
    begin = max(text.rfind(stop, 0, dollar) for stop in "{[,\n") + 1
    key, colon, piece = text[begin:dollar].rpartition(": ")
    end = _end_of_braces(text, dollar + 1)
    tail = re.compile(r"[^,\]}\n]*").match(text, end)
    value = (piece + text[dollar:end] + (tail.group() if tail else "")).strip()
    quoted = f"'{value}'" if '"' in value else f'"{value}"'
    if in_list:
        return f'"${{" inside [ ] must be quoted: [{quoted}]'
    name = key.strip() if colon else "key"
    return f'"${{" inside {{ }} must be quoted: {{{name}: {quoted}}}'


def _end_of_braces(text: str, opening: int) -> int:
    """Just after the brace that closes the one at ``opening``, on the same line where that is possible."""
    depth = 0
    for at in range(opening, len(text)):
        if text[at] == "\n":
            return at
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return at + 1
    return len(text)


def _colon_in_text(text: str, colon: int) -> str:
    begin = text.rfind("\n", 0, colon) + 1
    end = text.find("\n", colon)
    line = text[begin : end if end >= 0 else len(text)]
    value = re.sub(r"^\s*(?:- +)*(?:[^\s:'\"${]+:\s+)?", "", line).split(" #")[0].rstrip()
    quoted = "'" + value.replace("'", "''") + "'"
    if "${" in value:
        return f'": " ends an unquoted text. Quote it ({quoted}), use a block (|), or write a mapping with ${{…}} at the leaves'
    return f'": " ends an unquoted text. Quote it ({quoted}) or use a block (|)'
