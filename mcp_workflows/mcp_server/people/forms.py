"""What a run needs from outside as a form that a client can show to a person, and the filled-in form as what the run takes.

Clients show flat forms of texts, numbers, yes or no, and choices. An author's form may hold more than that: what such a form
cannot show is asked for as JSON. What is filled in is held against the author's schema by the runtime, as every answer is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from mcp_workflows.asking.resuming import correctable
from mcp_workflows.asking.waiting import DECISIONS, Waiting
from mcp_workflows.definition.input_schema import check_json
from mcp_workflows.definition.phrases import listed
from mcp_workflows.definition.program import Json
from mcp_workflows.definition.violations import shown
from mcp_workflows.errors import InputRefused
from mcp_workflows.mcp_server.views.wording import clean, cut, day_and_time
from mcp_workflows.runtime.views import RunView

_LONGEST = 2000
_SHOWN_OF_A_SCHEMA = 300
_FORMATS: Final = frozenset({"date", "date-time", "email", "uri"})
_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "string": ("minLength", "maxLength"),
    "number": ("minimum", "maximum"),
    "integer": ("minimum", "maximum"),
    "boolean": (),
}
"""The keywords that forms know, by type; what else a schema says is checked when the answer is there."""
_DEFAULTS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
}


@dataclass(frozen=True, slots=True)
class Question:
    """A form to be shown. ``key`` tells it from all others that the run ever asks."""

    key: str
    message: str
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    schema: Mapping[str, Json]
    required: bool
    shown: dict[str, Any] | None
    """How a client shows it; ``None``: as JSON."""

    def asked(self) -> dict[str, Any]:
        return self.shown if self.shown is not None else _as_json(self.schema)

    def read(self, value: Any) -> Any:
        """The value as it was meant. What was left empty is ``None``, if it may be."""
        if isinstance(value, str) and not value.strip() and not (self.required and self.shown):
            return None
        return _from_json(value) if self.shown is None else value


def question(view: RunView, wait: Waiting, refused: str | None = None) -> Question:
    """What ``wait`` asks. ``refused``: why the answer before was not taken."""
    until = f" (until {day_and_time(wait.expires_at)})" if wait.expires_at else ""
    asked = wait.message or f"{view.workflow} waits for {wait.name}: what it needs can be filled in here."
    said = [*([refused] if refused else []), cut(asked, _LONGEST), f"{view.workflow}, {view.run_id}{until}"]
    properties: dict[str, Any] = {}
    required: list[str] = []
    if wait.kind == "approval":
        properties["decision"] = {"type": "string", "title": "Decision", "enum": list(DECISIONS)}
        required.append("decision")
    for key, field in _fields(wait).items():
        properties[key] = field.asked()
        if field.required and "default" not in properties[key]:
            required.append(key)
    if wait.kind == "approval":
        properties["note"] = {"type": "string", "title": "Note"}
    schema = {"type": "object", "properties": properties, **({"required": required} if required else {})}
    return Question(wait.key, clean("\n\n".join(said)), schema)


def answered(wait: Waiting, content: Mapping[str, Any]) -> Json:
    """The answer that a filled-in form gives. What the form did not ask for is passed over."""
    filled: dict[str, Any] = {}
    for key, field in _fields(wait).items():
        value = field.read(content.get(key))
        if value is not None:
            filled[field.name] = value
    if wait.kind == "signal":
        return filled.get("data", {}) if wait.schema is None else filled
    answer: dict[str, Any] = {name: content[name] for name in ("decision", "note") if content.get(name)}
    if filled:
        answer["form"] = filled
    return answer


def _fields(wait: Waiting) -> dict[str, _Field]:
    """What is to be filled in, by the key that it has in the form: flat, so that a name may have to make way."""
    properties: Mapping[str, Any] = {}
    schema: Mapping[str, Any] = wait.schema or {}
    taken: set[str] = set()
    if wait.kind == "approval":
        taken = {"decision", "note"}
        schema = schema.get("properties", {}).get("form", {})
    elif wait.schema is None:
        schema = {"properties": {"data": {"title": "Data", "type": "object"}}}
    properties = cast("Mapping[str, Any]", schema.get("properties", {}))
    required = cast("list[str]", schema.get("required", []))
    fields: dict[str, _Field] = {}
    for name, inner in properties.items():
        key = name
        while key in taken:
            key = f"form_{key}"
        taken.add(key)
        shape: Mapping[str, Json] = cast("Mapping[str, Json]", inner) if isinstance(inner, Mapping) else {}
        fields[key] = _Field(name, shape, name in required, _shown(shape))
    return fields


def _shown(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    kind = schema.get("type")
    told = {word: schema[word] for word in ("title", "description") if isinstance(schema.get(word), str)}
    if kind == "array":
        items = schema.get("items")
        choices = _choices(cast("Mapping[str, Any]", items), "anyOf") if isinstance(items, Mapping) else None
        bounds = {word: schema[word] for word in ("minItems", "maxItems") if word in schema}
        return None if choices is None else {"type": "array", **told, "items": choices, **bounds}
    if not isinstance(kind, str) or kind not in _WORDS or "const" in schema:
        return None
    default = schema.get("default")
    if isinstance(default, _DEFAULTS[kind]) and isinstance(default, bool) == (kind == "boolean"):
        told["default"] = default
    choices = _choices(schema, "oneOf")
    if choices is not None or "enum" in schema:
        return None if choices is None else {"type": "string", **choices, **told}
    words = {word: schema[word] for word in _WORDS[kind] if word in schema}
    if schema.get("format") in _FORMATS:
        words["format"] = schema["format"]
    return {"type": kind, **told, **words}


def _choices(schema: Mapping[str, Any], titled: str) -> dict[str, Any] | None:
    """``titled``: the keyword of choices that have titles, which forms know by another name in a list."""
    if schema.get("type", "string") != "string":
        return None
    choices = schema.get("enum")
    if isinstance(choices, list):
        texts = cast("list[Any]", choices)
        return {"type": "string", "enum": texts} if all(isinstance(one, str) for one in texts) else None
    ways = schema.get(titled)
    told = [_titled(way) for way in cast("list[Any]", ways)] if isinstance(ways, list) else []
    return None if not told or None in told else {titled: told}


def _titled(way: Any) -> dict[str, str] | None:
    if not isinstance(way, Mapping):
        return None
    shape = cast("Mapping[str, Any]", way)
    value = shape.get("const")
    title = shape.get("title", value)
    return {"const": value, "title": title} if isinstance(value, str) and isinstance(title, str) else None


def _as_json(schema: Mapping[str, Any]) -> dict[str, Any]:
    described = schema.get("description")
    title = schema.get("title")
    shape = {word: value for word, value in schema.items() if word not in ("title", "description")}
    said = f"JSON: {cut(json.dumps(shape, ensure_ascii=False), _SHOWN_OF_A_SCHEMA)}"
    return {
        "type": "string",
        **({"title": title} if isinstance(title, str) else {}),
        "description": f"{described} {said}" if isinstance(described, str) else said,
    }


def _from_json(value: Any) -> Any:
    """What is no JSON is a text; the author's schema says whether that will do."""
    if not isinstance(value, str):
        return value
    try:
        meant = json.loads(value)
        json.dumps(meant, ensure_ascii=False).encode("utf-8")  # no transport could carry halves of surrogate pairs
    except (ValueError, RecursionError):
        return value
    return meant


# A run that stands still: what ``resume`` and ``cancel`` can make of it

_STILL: Final = "The run still stands still."


@dataclass(frozen=True, slots=True)
class Decided:
    """What a person decided about a run that stands still."""

    action: Literal["resume", "cancel"]
    correction: Mapping[str, Any]
    reason: str | None


def standstill(view: RunView) -> Question:
    """How the paused run goes on, as its error allows."""
    error = view.error
    step = error.step if error is not None and error.step else None
    happened = f"{step}: {error.message}" if error is not None and step else error.message if error is not None else ""
    said = [f"{view.workflow} stands still. {cut(happened, _LONGEST)}".strip(), f"{view.run_id}: how does it go on?"]
    properties: dict[str, Any] = {
        "choice": {
            "type": "string",
            "title": "How it goes on",
            "oneOf": [{"const": name, "title": title} for name, title in _ways_on(view, step).items()],
        }
    }
    if not view.once_in_doubt:
        properties["input"] = _correction("Corrections merged into the run's input")
        if error is not None and correctable(error.request):
            properties["request"] = _correction("Corrections merged into the failed step's body, query or arguments")
    if step is not None:
        properties["output"] = {"type": "string", "title": "Output", "description": f"JSON: taken for that of {step}"}
    properties["reason"] = {"type": "string", "title": "Reason"}
    schema = {"type": "object", "properties": properties, "required": ["choice"]}
    return Question(f"#paused-{view.resumed + 1}", clean("\n\n".join(said)), schema)


def decided(content: Mapping[str, Any]) -> Decided:
    """What the filled-in form of ``standstill`` says. Whether that can be done is for the runtime to say.

    Raises ``InputRefused``.
    """
    choice, reason = content.get("choice"), content.get("reason") or None
    if reason is not None and not isinstance(reason, str):
        raise InputRefused(f"data refused: reason: {shown(reason)} is not a string. {_STILL}")
    given = {name: content[name] for name in ("input", "request", "output") if content.get(name) not in (None, "")}
    match choice:
        case "cancel":
            return Decided("cancel", {}, reason)
        case "resume":
            correction = {name: _from_json(text) for name, text in given.items() if name != "output"}
        case "output" if "output" in given:
            correction = {"output": _from_json(given["output"])}
        case "output":
            raise InputRefused(f"data refused: output: is missing. {_STILL}")
        case "skip" | "again":
            correction = {choice: True}
        case _:
            raise InputRefused(f"data refused: choice: {shown(choice)} is not known. {_STILL}")
    try:
        check_json(correction)
    except InputRefused as refused:
        raise InputRefused(f"data refused: {refused} {_STILL}") from None
    return Decided("resume", correction, reason)


def _ways_on(view: RunView, step: str | None) -> dict[str, str]:
    ways = {"again": f"Make {step} again"} if view.once_in_doubt else {"resume": f"Try {step or 'it'} again"}
    if step is not None:
        ways |= {"output": f"Take the output below for {step}", "skip": f"Leave {step} out"}
    undone = f" and undo {listed(view.would_undo[:5])}" if view.would_undo else ""
    return {**ways, "cancel": f"Cancel the run{undone}"}


def _correction(what: str) -> dict[str, str]:
    return {
        "type": "string",
        "title": what.rsplit(maxsplit=1)[-1].capitalize(),
        "description": f"{what}, as a JSON object",
    }
