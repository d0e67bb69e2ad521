"""What a person is to fill in, read from an author's schema once: every surface that asks makes its own form of these fields.

A field is what a form can show: a text, a number, yes or no, one of some choices or several of them, a list of texts or of
numbers. What is more than that is ``other``, and filled in as JSON. A field says how it is to be asked; whether an answer fits
is for the whole schema to say.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from mcp_workflows.asking.waiting import Waiting
from mcp_workflows.definition.input_schema import resolved
from mcp_workflows.definition.program import Json

Kind = Literal["text", "number", "integer", "yes_no", "choice", "choices", "list", "other"]

_KINDS: Final[Mapping[str, Kind]] = {"string": "text", "number": "number", "integer": "integer", "boolean": "yes_no"}
_LISTED: Final = frozenset({"text", "number", "integer"})
"""What a list may be of, to be written down one after the other."""
_BOUNDS: Final[Mapping[str, str]] = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}
_TITLED: Final = ("oneOf", "anyOf")
"""Hold choices with titles, as ``{const: value, title: what a person reads}``."""


@dataclass(frozen=True, slots=True)
class Choice:
    value: Json
    title: str


@dataclass(frozen=True, slots=True)
class Field:
    """``rules`` is its schema, with the reference followed that it may be.

    ``choices`` are of a ``choice`` or of ``choices``, ``item`` is what a ``list`` is of.
    """

    name: str
    kind: Kind
    required: bool
    rules: Mapping[str, Json]
    choices: tuple[Choice, ...] = ()
    item: Field | None = None

    @property
    def title(self) -> str | None:
        return _text(self.rules.get("title"))

    @property
    def label(self) -> str:
        """What a person reads: its title, or its name as words."""
        return self.title or self.name.replace("_", " ").replace("-", " ").capitalize()

    @property
    def description(self) -> str | None:
        return _text(self.rules.get("description"))

    @property
    def bounds(self) -> str | None:
        """Of a number: ``at least 1 and at most 60``."""
        known = self.kind in ("number", "integer")
        said = [f"{words} {self.rules[word]}" for word, words in _BOUNDS.items() if known and word in self.rules]
        return " and ".join(said) or None


def as_json(value: Json) -> str:
    """As a person writes it, and reads it."""
    return json.dumps(value, ensure_ascii=False)


def several(typed: str) -> list[str]:
    """The items of a list as people write one: each on its line, or all in one line with commas between them."""
    parts = typed.splitlines() if "\n" in typed.strip() else typed.split(",")
    return [part.strip() for part in parts if part.strip()]


def fields_of(wait: Waiting) -> tuple[Field, ...]:
    """The author's fields: an approval's form, or what a signal holds."""
    root: Mapping[str, Any] = wait.schema or {}
    schema: Mapping[str, Any] = (
        _rules(root.get("properties", {}).get("form"), root) if wait.kind == "approval" else root
    )
    properties = schema.get("properties")
    required = schema.get("required")
    names = cast("list[object]", required) if isinstance(required, list) else []
    inner: dict[str, Any] = cast("dict[str, Any]", properties) if isinstance(properties, dict) else {}
    return tuple(_field(name, _rules(one, root), name in names, root) for name, one in inner.items())


def _field(name: str, rules: Mapping[str, Any], required: bool, root: Mapping[str, Any]) -> Field:
    kind = rules.get("type")
    if "const" in rules:
        return Field(name, "other", required, rules)
    if choices := _choices(rules):
        return Field(name, "choice", required, rules, choices)
    if kind == "array":
        items = _rules(rules.get("items"), root)
        if choices := _choices(items):
            return Field(name, "choices", required, rules, choices)
        if items.get("type") != "array" and (item := _field(name, items, True, root)).kind in _LISTED:
            return Field(name, "list", required, rules, item=item)
    return Field(name, _KINDS.get(kind, "other") if isinstance(kind, str) else "other", required, rules)


def _rules(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema with its reference followed, and what stands beside it. Of what is no schema, and of a circle: nothing."""
    if not isinstance(schema, dict):
        return {}
    given = cast("dict[str, Any]", schema)
    try:
        return {**resolved(given, root), **{word: rule for word, rule in given.items() if word != "$ref"}}
    except RecursionError:
        return {}


def _choices(rules: Mapping[str, Any]) -> tuple[Choice, ...]:
    """None, unless all that is allowed is told."""
    values = rules.get("enum")
    if isinstance(values, list):
        return tuple(Choice(value, _shown(value)) for value in cast("list[Json]", values))
    for word in _TITLED:
        ways = rules.get(word)
        told = [*_titled(cast("list[object]", ways))] if isinstance(ways, list) else []
        if told and None not in told:
            return tuple(choice for choice in told if choice is not None)
    return ()


def _titled(ways: list[object]) -> Iterator[Choice | None]:
    for way in ways:
        shape: dict[str, Any] = cast("dict[str, Any]", way) if isinstance(way, dict) else {}
        yield Choice(shape["const"], _text(shape.get("title")) or _shown(shape["const"])) if "const" in shape else None


def _shown(value: Json) -> str:
    return value if isinstance(value, str) else as_json(value)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
