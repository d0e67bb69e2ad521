"""What a person fills in on the page, and what was filled in as JSON again.

What a field cannot show, objects and lists in lists, is entered as JSON. What a person typed is never lost: a form that is
shown again holds it, with what is wrong beside the field.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast
from urllib.parse import quote

from mcp_workflows.asking.fields import Field, as_json, fields_of
from mcp_workflows.asking.waiting import Waiting
from mcp_workflows.definition.input_schema import check_json
from mcp_workflows.definition.program import Json
from mcp_workflows.definition.violations import violations
from mcp_workflows.errors import InputRefused

PREFIX: Final = "form."
"""Begins the names of the author's fields in the page."""
LINES_FROM: Final = 200
"""A text that may be so long gets several lines."""
_TYPES: Final = {"date": "date", "email": "email", "uri": "url"}
"""By ``format``: of the input. The browser helps, and the server checks. Its times have no zone, which a schema's must have."""
_EXAMPLES: Final = {
    "date-time": "2026-11-28T14:30:00Z", "time": "14:30:00Z", "duration": "P1DT12H", "uri": "https://example.com",
    "uuid": "8f14e45f-ceea-467f-a0e6-2b4d2f3c5a10",
}  # fmt: skip
"""By ``format``: how it is written."""
_LONGEST_EXAMPLE: Final = 300
_ANYTHING: Final = "…"
_YES, _NO = "yes", "no"


@dataclass(frozen=True, slots=True)
class Entry:
    """One field. ``given`` is what was typed or chosen, ``error`` what is wrong with it."""

    field: Field
    given: tuple[str, ...] = ()
    error: str | None = None

    @property
    def name(self) -> str:
        return self.field.name

    @property
    def key(self) -> str:
        """Its name in the page."""
        return PREFIX + self.name

    @property
    def id(self) -> str:
        return "f-" + quote(self.name, safe="").replace("-", "%2D")

    @property
    def value(self) -> str:
        return self.given[0] if self.given else ""

    @property
    def choices(self) -> Mapping[str, str]:
        """What a person reads, by what stands for it in the page."""
        if self.field.kind == "yes_no":
            return {_YES: "Yes", _NO: "No"}
        return {as_json(choice.value): choice.title for choice in self.field.choices}

    @property
    def is_long(self) -> bool:
        media_type, longest = self.field.rules.get("contentMediaType"), self.field.rules.get("maxLength")
        long = isinstance(longest, int | float) and longest >= LINES_FROM
        return self.field.kind == "text" and (long or str(media_type).startswith("text/"))

    @property
    def input_type(self) -> str:
        return _TYPES.get(str(self.field.rules.get("format")), "text") if self.field.kind == "text" else "text"

    @property
    def help(self) -> str | None:
        said = [self.field.description, _how_to_write(self.field)]
        return " ".join(filter(None, said)) or None


def _how_to_write(field: Field) -> str | None:
    match field.kind:
        case "text":
            example = _EXAMPLES.get(str(field.rules.get("format")))
            return example and f"Such as {example}."
        case "integer" | "number":
            what = "A whole number" if field.kind == "integer" else "A number"
            return f"{what}, {field.bounds}." if field.bounds else f"{what}."
        case "list":
            item = None if field.item is None else _how_to_write(field.item)
            return f"One on each line. {item}" if item else "One on each line."
        case "other":
            example = _example(field.rules)
            known = example != _ANYTHING and len(as_json(example)) <= _LONGEST_EXAMPLE
            return f"To be written as JSON, such as {as_json(example)}" if known else "To be written as JSON."
        case _:
            return None


def _example(schema: Any) -> Json:
    """Something of the schema's shape."""
    rules: Mapping[str, Any] = cast("dict[str, Any]", schema) if isinstance(schema, dict) else {}
    if "const" in rules:
        return rules["const"]
    match rules.get("type"):
        case "object":
            inner: Any = rules.get("properties")
            names = cast("dict[str, Any]", inner) if isinstance(inner, dict) else {}
            return {name: _example(one) for name, one in names.items()}
        case "array":
            return [_example(rules.get("items"))]
        case "integer":
            return 1
        case "number":
            return 1.5
        case "boolean":
            return True
        case _:
            return _ANYTHING


@dataclass(frozen=True, slots=True)
class Form:
    """The entries, and what is wrong with none in particular."""

    schema: Mapping[str, Any]
    entries: tuple[Entry, ...]
    errors: tuple[str, ...] = ()

    @property
    def is_wrong(self) -> bool:
        return bool(self.errors) or any(one.error for one in self.entries)


@dataclass(slots=True)
class _Reading:
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    errors: dict[str, str] = field(default_factory=dict[str, str])


def form_of(wait: Waiting) -> Form:
    """The author's part of what answers an approval, with the defaults filled in."""
    schema = cast("Mapping[str, Any]", (wait.schema or {}).get("properties", {}).get("form", {}))
    return Form(schema, tuple(Entry(one, given=_preset(one)) for one in fields_of(wait)))


def answer_lines(wait: Waiting, answer: Mapping[str, Json]) -> list[tuple[str, str]]:
    """What was filled in, field by field, as a person reads it."""
    labels = {field.name: field.label for field in fields_of(wait)}
    shown = {field.name: _in_lines(field, answer[field.name]) for field in fields_of(wait) if field.name in answer}
    return [(labels.get(name, name), shown.get(name) or as_json(value)) for name, value in answer.items()]


def filled_in(form: Form, given: Mapping[str, Sequence[str]]) -> tuple[Form, Json]:
    """The form with what a person entered, and the JSON that it means, if nothing is wrong with it."""
    reading = _Reading()
    entered = tuple(replace(one, given=tuple(given.get(one.key, ()))) for one in form.entries)
    for one in entered:
        _read(one, reading)
    general: list[str] = []
    fields = {one.name: one.field for one in entered}
    names = sorted(fields, key=len, reverse=True)
    for line in _wrong(form, reading.values):
        line = line.removeprefix("form.")
        name = next((name for name in names if re.match(re.escape(name) + r"[:.\[]", line)), None)
        if name is None:
            general.append(line)
        elif name not in reading.errors:
            reading.errors[name] = _in_words(fields[name], line[len(name) :])
    told = tuple(replace(one, error=reading.errors.get(one.name)) for one in entered)
    return Form(form.schema, told, tuple(general)), reading.values


def _in_lines(field: Field, value: Json) -> str:
    titles = {as_json(choice.value): choice.title for choice in field.choices}
    match value:
        case bool() if field.kind == "yes_no":
            return "Yes" if value else "No"
        case list() if field.kind in ("list", "choices"):
            return "\n".join(_in_lines(replace(field, kind="choice"), one) for one in cast("list[Json]", value))
        case str():
            return titles.get(as_json(value), value)
        case _:
            return titles.get(as_json(value), as_json(value))


def _wrong(form: Form, values: Json) -> list[str]:
    """What is wrong with the values, at the place in an answer to which the references of the schema lead."""
    answer: Json = {"form": values}
    try:
        check_json(answer)
        return violations({"properties": {"form": {"type": "object", **form.schema}}}, answer)
    except InputRefused as refused:
        return [str(refused)]


def _preset(field: Field) -> tuple[str, ...]:
    if "default" not in field.rules:
        return ()
    default = field.rules["default"]
    match field.kind:
        case "yes_no":
            return (_YES if default else _NO,)
        case "choices":
            return tuple(map(as_json, cast("list[Json]", default))) if isinstance(default, list) else ()
        case "text" if isinstance(default, str):
            return (default,)
        case "list" if isinstance(default, list):
            return ("\n".join(one if isinstance(one, str) else as_json(one) for one in cast("list[Json]", default)),)
        case _:
            return (as_json(default),)


def _read(one: Entry, reading: _Reading) -> None:
    """What was left empty is left out; what cannot be read is an error of its own."""
    if one.field.kind == "choices":
        if one.given or one.field.required:
            reading.values[one.name] = [json.loads(value) for value in one.given if value in one.choices]
        return
    text = one.value.replace("\r\n", "\n")
    try:
        if text.strip():
            reading.values[one.name] = _meant(one.field, one.choices, text)
    except _Unreadable as unreadable:
        reading.errors[one.name] = str(unreadable)


class _Unreadable(Exception):
    """What was typed is no value of its field. Says what would be one."""


def _meant(field: Field, choices: Mapping[str, str], text: str) -> Json:
    """Raises ``_Unreadable``."""
    match field.kind:
        case "yes_no" if text in (_YES, _NO):
            return text == _YES
        case "choice" if text in choices:
            return json.loads(text)
        case "integer" if re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", text):
            return int(text)
        case "number" if re.fullmatch(r"\s*[+-]?([0-9]{1,18}([.,][0-9]{1,18})?|[.,][0-9]{1,18})\s*", text):
            number = text.strip().replace(",", ".")
            return float(number) if "." in number else int(number)
        case "text":
            return text
        case "list" if field.item is not None:
            return [_meant(field.item, {}, line.strip()) for line in text.split("\n") if line.strip()]
        case "other":
            try:
                return json.loads(text)
            except (ValueError, RecursionError):
                raise _Unreadable("This is no JSON.") from None
        case "integer":
            raise _Unreadable("Write a whole number, such as 3.")
        case "number":
            raise _Unreadable("Write a number, such as 2.5.")
        case _:
            raise _Unreadable("Choose one of these.")


def _in_words(field: Field, rest: str) -> str:
    """``: is missing.`` of a violation, as one sentence beside its field."""
    if rest == ": is missing.":
        return "Please fill this in."
    if field.kind == "list":
        rest = re.sub(r"^\[\d+]", "", rest)  # the value says which one
    said = rest.removeprefix(":").removeprefix(".").strip().replace(": is missing.", " is missing.")
    return said if said.endswith(" is missing.") else said[:1].upper() + said[1:]
