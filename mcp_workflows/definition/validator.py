"""Holds a value against a JSON Schema in a time that nobody who sends values can stretch.

The schema is its author's, the value anybody's. So what ``jsonschema`` leaves to a backtracking ``re`` is matched by RE2,
whose time grows with the text alone; ``uniqueItems`` compares no two elements; what a format checks has a length; and
references are followed so far, and no farther.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, cast

import re2
from jsonschema import Draft202012Validator, FormatChecker, validators
from jsonschema.exceptions import FormatError, ValidationError

MAX_TEXT = 1 << 16
"""Characters of a text that is held against a ``pattern`` or a ``format``; a longer one fits none."""
_FOLLOWED = 16 << 20
"""Bytes that may be looked at by reference, over and over: a schema that refers to itself twice at each level would look
at a value 2^depth times."""
_REFERENCE = 1 << 9
"""What a reference costs however little it leads to, in the same currency: 32,768 of them may be followed."""
_MAX_TEMPLATE = 1 << 13
"""Of these the time grows with the square of the length."""

_RE2: Any = re2  # it has no types
_Keyword = Callable[[Any, Any, Any, Mapping[str, Any]], Iterator[ValidationError]]


class PatternRefused(ValueError):
    """The pattern is none that can be matched in linear time. The message says why, as the end of a sentence."""


class TooIntricate(Exception):
    """References lead through the value so often that it is not looked at any further."""


class Checks(FormatChecker):
    """What goes with one validation from schema to schema: the formats that are asserted, and what is spent."""

    def __init__(self) -> None:
        super().__init__(())
        self.checkers = Draft202012Validator.FORMAT_CHECKER.checkers  # by name it would take those of other drafts, too
        self._left = _FOLLOWED
        self._sizes: dict[int, int] = {}

    def check(self, instance: object, format: str) -> None:  # noqa: A002  (its name there)
        if isinstance(instance, str):
            if len(instance) > (_MAX_TEMPLATE if format == "uri-template" else MAX_TEXT):
                raise FormatError(f"a text of {len(instance)} characters is no {format}")
            if format == "regex":
                self._check_pattern(instance)
                return
        super().check(instance, format)

    def _check_pattern(self, text: str) -> None:
        try:
            pattern(text)
        except PatternRefused as refused:
            raise FormatError(str(refused)) from None

    def follow(self, value: object) -> None:
        """A reference leads to this part of the value. Raises ``TooIntricate``."""
        self._left -= _REFERENCE + self._size(value)
        if self._left < 0:
            raise TooIntricate

    def _size(self, value: object) -> int:
        if not isinstance(value, dict | list):
            return len(value) if isinstance(value, str) else 0
        key = id(cast("object", value))  # it lasts as long as the validation
        if key not in self._sizes:
            self._sizes[key] = len(json.dumps(value))
        return self._sizes[key]


def validator_of(schema: Mapping[str, Any]) -> Any:
    """To be used once: it spends what it may."""
    rules = {word: rule for word, rule in schema.items() if word != "$schema"}  # else it would choose another validator
    return _Validator(rules, format_checker=Checks())


@lru_cache(maxsize=256)
def pattern(text: str) -> Callable[[str], bool]:
    """Whether a text holds what the pattern describes. Raises ``PatternRefused``."""
    options = _RE2.Options()
    options.never_capture = True
    options.log_errors = False
    try:
        compiled = _RE2.compile(text, options)
    except _RE2.error as error:
        raise PatternRefused(_said(error)) from None
    except UnicodeEncodeError:
        raise PatternRefused("it holds half of a surrogate pair") from None

    def found(value: str) -> bool:
        return len(value) <= MAX_TEXT and compiled.search(value.encode("utf-8", "surrogatepass")) is not None

    return found


def _said(error: Exception) -> str:
    reason = error.args[0] if error.args else b""
    said = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
    if "invalid perl operator: (?" in said or "invalid escape sequence: \\" in said:
        return f"{said} (RE2's syntax: no look-around, no back-references; characters by themselves or as \\x{{e9}})"
    if "repetition size" in said:
        return f"{said} (at most 1000; for lengths there is maxLength)"
    return said


# Keywords that jsonschema would match with ``re``, or take too long for


def _pattern(_validator: Any, rule: str, value: Any, _schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    if isinstance(value, str) and not pattern(rule)(value):
        yield ValidationError(f"{value!r} does not match {rule!r}")


def _pattern_properties(
    validator: Any, rule: Mapping[str, Any], value: Any, _schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if isinstance(value, dict):
        for text, inner in rule.items():
            fits = pattern(text)
            for key, item in cast("dict[str, Any]", value).items():
                if fits(key):
                    yield from validator.descend(item, inner, path=key, schema_path=text)


def _additional_properties(
    validator: Any, rule: Any, value: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    patterns = [pattern(text) for text in schema.get("patternProperties", ())]
    if not patterns:
        yield from _usual("additionalProperties")(validator, rule, value, schema)
        return
    if not isinstance(value, dict):
        return
    known = schema.get("properties", {})
    members = cast("dict[str, Any]", value)
    extra = [key for key in members if key not in known and not any(fits(key) for fits in patterns)]
    if rule is False and extra:
        named = ", ".join(map(repr, extra))
        yield ValidationError(f"{named} is not known, and matches none of {', '.join(schema['patternProperties'])}")
    elif rule is not False:
        for key in extra:
            yield from validator.descend(members[key], rule, path=key)


def _unique_items(_validator: Any, rule: Any, value: Any, _schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    if rule and isinstance(value, list):
        items = cast("list[Any]", value)
        if len({_identity(item) for item in items}) < len(items):
            yield ValidationError(f"{value!r} has non-unique elements")


def _identity(value: Any) -> object:
    """Equal for what JSON Schema calls equal: 1 and 1.0, but not 1 and true."""
    match value:
        case bool():
            return (bool, value)
        case list():
            return (list, *map(_identity, cast("list[Any]", value)))
        case dict():
            return frozenset((key, _identity(item)) for key, item in cast("dict[str, Any]", value).items())
        case _:
            return value


def _reference(validator: Any, rule: Any, value: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    cast("Checks", validator.format_checker).follow(value)
    yield from _usual("$ref")(validator, rule, value, schema)


def _usual(keyword: str) -> _Keyword:
    return cast("_Keyword", cast("Any", Draft202012Validator).VALIDATORS[keyword])


_Validator: Any = cast("Any", validators).extend(
    Draft202012Validator,
    {
        "$ref": _reference,
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "uniqueItems": _unique_items,
    },
)
