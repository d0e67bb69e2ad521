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
_TYPES: Final = {"date": "date", "time": "time", "email": "email", "uri": "url"}
"""By ``format``: of the input. The browser helps, and the server checks."""
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
        return "f-" + re.sub(r"[^A-Za-z0-9_-]", "-", self.name)

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
        said = [self.field.description] if self.field.description else []
        if self.field.kind in ("integer", "number"):
            what = "A whole number" if self.field.kind == "integer" else "A number"
            said.append(f"{what}, {self.field.bounds}." if self.field.bounds else f"{what}.")
        if self.field.kind == "other":
            said.append("To be written as JSON.")
        return " ".join(said) or None


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


def filled_in(form: Form, given: Mapping[str, Sequence[str]]) -> tuple[Form, Json]:
    """The form with what a person entered, and the JSON that it means, if nothing is wrong with it."""
    reading = _Reading()
    entered = tuple(replace(one, given=tuple(given.get(one.key, ()))) for one in form.entries)
    for one in entered:
        _read(one, reading)
    general: list[str] = []
    names = sorted((one.name for one in entered), key=len, reverse=True)
    for line in _wrong(form, reading.values):
        line = line.removeprefix("form.")
        name = next((name for name in names if re.match(re.escape(name) + r"[:.\[]", line)), None)
        if name is None:
            general.append(line)
        elif name not in reading.errors:
            reading.errors[name] = _in_words(line[len(name) :])
    told = tuple(replace(one, error=reading.errors.get(one.name)) for one in entered)
    return Form(form.schema, told, tuple(general)), reading.values


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
        case _:
            return (as_json(default),)


def _read(one: Entry, reading: _Reading) -> None:
    """What was left empty is left out; what cannot be read is an error of its own."""
    if one.field.kind == "choices":
        if one.given or one.field.required:
            reading.values[one.name] = [json.loads(value) for value in one.given if value in one.choices]
        return
    text = one.value.replace("\r\n", "\n")
    if text.strip():
        _read_text(one, text, reading)


def _read_text(one: Entry, text: str, reading: _Reading) -> None:
    match one.field.kind:
        case "yes_no" if text in (_YES, _NO):
            reading.values[one.name] = text == _YES
        case "choice" if text in one.choices:
            reading.values[one.name] = json.loads(text)
        case "integer" if re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", text):
            reading.values[one.name] = int(text)
        case "number" if re.fullmatch(r"\s*[+-]?([0-9]{1,18}([.,][0-9]{1,18})?|[.,][0-9]{1,18})\s*", text):
            number = text.strip().replace(",", ".")
            reading.values[one.name] = float(number) if "." in number else int(number)
        case "text":
            reading.values[one.name] = text
        case "other":
            try:
                reading.values[one.name] = json.loads(text)
            except (ValueError, RecursionError):
                reading.errors[one.name] = "This is no JSON."
        case "integer":
            reading.errors[one.name] = "Write a whole number, such as 3."
        case "number":
            reading.errors[one.name] = "Write a number, such as 2.5."
        case _:
            reading.errors[one.name] = "Choose one of these."


def _in_words(rest: str) -> str:
    """``: is missing.`` of a violation, as one sentence beside its field."""
    said = rest.removeprefix(":").strip()
    if said == "is missing.":
        return "Please fill this in."
    return said[:1].upper() + said[1:]
