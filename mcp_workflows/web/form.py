"""An author's JSON Schema as fields to fill in, and what was filled in as JSON again.

What a field cannot show, objects and lists in lists, is entered as JSON. What a person typed is never lost: a form that is
shown again holds it, with what is wrong beside the field.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, cast

from mcp_workflows.definition.program import Json
from mcp_workflows.definition.violations import violations

Kind = Literal["text", "lines", "choice", "choices", "yes_no", "number", "integer", "json"]

PREFIX: Final = "form."
"""Begins the names of the author's fields in the page."""
LINES_FROM: Final = 200
"""A text that may be so long gets several lines."""
_TYPES: Final = {"date": "date", "time": "time", "email": "email", "uri": "url"}
"""By ``format``: of the input. The browser helps, and the server checks."""
_YES, _NO = "yes", "no"


@dataclass(frozen=True, slots=True)
class Choice:
    value: str
    label: str


@dataclass(frozen=True, slots=True)
class Field:
    """One thing to fill in. ``given`` is what was typed or chosen, ``error`` what is wrong with it."""

    name: str
    label: str
    kind: Kind
    required: bool
    help: str | None = None
    input_type: str = "text"
    choices: tuple[Choice, ...] = ()
    given: tuple[str, ...] = ()
    error: str | None = None

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


@dataclass(frozen=True, slots=True)
class Form:
    """The fields, and what is wrong with no field in particular."""

    schema: Mapping[str, Any]
    fields: tuple[Field, ...]
    errors: tuple[str, ...] = ()

    @property
    def is_wrong(self) -> bool:
        return bool(self.errors) or any(one.error for one in self.fields)


@dataclass(slots=True)
class _Reading:
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    errors: dict[str, str] = field(default_factory=dict[str, str])


def form_of(answer_schema: Mapping[str, Any]) -> Form:
    """The author's part of what answers an approval, with the defaults filled in."""
    schema = cast("Mapping[str, Any]", answer_schema.get("properties", {}).get("form", {}))
    properties = cast("Mapping[str, Any]", schema.get("properties", {}))
    required = cast("Sequence[str]", schema.get("required", ()))
    return Form(schema, tuple(_field(name, inner, name in required) for name, inner in properties.items()))


def filled_in(form: Form, given: Mapping[str, Sequence[str]]) -> tuple[Form, Json]:
    """The form with what a person entered, and the JSON that it means, if nothing is wrong with it."""
    reading = _Reading()
    entered = tuple(replace(one, given=tuple(given.get(one.key, ()))) for one in form.fields)
    for one in entered:
        _read(one, reading)
    general: list[str] = []
    names = sorted((one.name for one in entered), key=len, reverse=True)
    for line in violations({"type": "object", **form.schema}, reading.values):
        name = next((name for name in names if re.match(re.escape(name) + r"[:.\[]", line)), None)
        if name is None:
            general.append(line)
        elif name not in reading.errors:
            reading.errors[name] = _in_words(line[len(name) :])
    told = tuple(replace(one, error=reading.errors.get(one.name)) for one in entered)
    return Form(form.schema, told, tuple(general)), reading.values


def _field(name: str, schema: Any, required: bool) -> Field:
    rules: Mapping[str, Any] = cast("Mapping[str, Any]", schema) if isinstance(schema, Mapping) else {}
    label = str(rules.get("title") or name.replace("_", " ").replace("-", " ").capitalize())
    kind, choices = _kind(rules)
    made = Field(name, label, kind, required, _help(rules, kind), _TYPES.get(str(rules.get("format")), "text"), choices)
    return replace(made, given=_shown(made, rules["default"])) if "default" in rules else made


def _kind(rules: Mapping[str, Any]) -> tuple[Kind, tuple[Choice, ...]]:
    if isinstance(rules.get("enum"), list):
        return "choice", _choices(rules["enum"])
    match rules.get("type"):
        case "boolean":
            return "yes_no", (Choice(_YES, "Yes"), Choice(_NO, "No"))
        case "integer":
            return "integer", ()
        case "number":
            return "number", ()
        case "string":
            long = rules.get("maxLength", 0) >= LINES_FROM or str(rules.get("contentMediaType", "")).startswith("text/")
            return ("lines" if long else "text"), ()
        case "array" if isinstance(values := _items(rules).get("enum"), list):
            return "choices", _choices(cast("list[Any]", values))
        case _:
            return "json", ()


def _items(rules: Mapping[str, Any]) -> Mapping[str, Any]:
    items = rules.get("items")
    return cast("Mapping[str, Any]", items) if isinstance(items, Mapping) else {}


def _choices(values: list[Any]) -> tuple[Choice, ...]:
    """A choice is known by its place, as values of different types may read alike."""
    return tuple(Choice(json.dumps(value), value if isinstance(value, str) else json.dumps(value)) for value in values)


def _help(rules: Mapping[str, Any], kind: Kind) -> str | None:
    said = [str(rules["description"])] if "description" in rules else []
    if kind in ("integer", "number"):
        low, high = rules.get("minimum"), rules.get("maximum")
        bounds = [f"at least {low}"] if low is not None else []
        bounds += [f"at most {high}"] if high is not None else []
        said += [
            f"{'A whole number' if kind == 'integer' else 'A number'}{', ' if bounds else ''}{' and '.join(bounds)}."
        ]
    if kind == "json":
        said.append("To be written as JSON.")
    return " ".join(said) or None


def _shown(one: Field, value: Any) -> tuple[str, ...]:
    match one.kind:
        case "yes_no":
            return (_YES if value else _NO,)
        case "choice":
            return (json.dumps(value),)
        case "choices":
            return tuple(map(json.dumps, cast("list[Any]", value))) if isinstance(value, list) else ()
        case "text" | "lines" if isinstance(value, str):
            return (value,)
        case _:
            return (json.dumps(value, ensure_ascii=False),)


def _read(one: Field, reading: _Reading) -> None:
    """What was left empty is left out; what cannot be read is an error of its own."""
    if one.kind == "choices":
        if one.given or one.required:
            reading.values[one.name] = [json.loads(value) for value in one.given if _is_choice(one, value)]
        return
    text = one.value.replace("\r\n", "\n")
    if text.strip():
        _read_text(one, text, reading)


def _read_text(one: Field, text: str, reading: _Reading) -> None:
    match one.kind:
        case "yes_no" if text in (_YES, _NO):
            reading.values[one.name] = text == _YES
        case "choice" if _is_choice(one, text):
            reading.values[one.name] = json.loads(text)
        case "integer" if re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", text):
            reading.values[one.name] = int(text)
        case "number" if re.fullmatch(r"\s*[+-]?([0-9]{1,18}([.,][0-9]{1,18})?|[.,][0-9]{1,18})\s*", text):
            number = text.strip().replace(",", ".")
            reading.values[one.name] = float(number) if "." in number else int(number)
        case "text" | "lines":
            reading.values[one.name] = text
        case "json":
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


def _is_choice(one: Field, value: str) -> bool:
    return any(choice.value == value for choice in one.choices)


def _in_words(rest: str) -> str:
    """``: is missing.`` of a violation, as one sentence beside its field."""
    said = rest.removeprefix(":").strip()
    if said == "is missing.":
        return "Please fill this in."
    return said[:1].upper() + said[1:]
