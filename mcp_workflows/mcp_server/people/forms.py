"""What a run needs from outside as a form that a client can show to a person, and the filled-in form as what the run takes.

Clients show flat forms of texts, numbers, yes or no, and choices. An author's form may hold more than that: what such a form
cannot show is asked for as JSON. What is filled in is held against the author's schema by the runtime, as every answer is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from mcp_workflows.asking.fields import Choice, Field, Kind, as_json, fields_of, several
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
_LIST: Final = "Several, with commas between them or each on its line; or a JSON list."
_FORMATS: Final = frozenset({"date", "date-time", "email", "uri"})
_TYPES: Final[Mapping[Kind, str]] = {"text": "string", "number": "number", "integer": "integer", "yes_no": "boolean"}
_WORDS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "text": ("minLength", "maxLength"),
    "number": ("minimum", "maximum"),
    "integer": ("minimum", "maximum"),
    "yes_no": (),
}
"""The keywords that forms know, by kind; what else a schema says is checked when the answer is there."""
_DEFAULTS: Final[Mapping[Kind, type | tuple[type, ...]]] = {
    "text": str,
    "number": (int, float),
    "integer": int,
    "yes_no": bool,
}


@dataclass(frozen=True, slots=True)
class Question:
    """A form to be shown. ``key`` tells it from all others that the run ever asks."""

    key: str
    message: str
    schema: dict[str, Any]


def about(view: RunView, wait: Waiting) -> str:
    """What is asked, by which run, and until when."""
    until = f" (until {day_and_time(wait.expires_at)})" if wait.expires_at else ""
    asked = wait.message or f"{view.workflow} waits for {wait.name}: what it needs can be filled in here."
    return clean(f"{cut(asked, _LONGEST)}\n\n{view.workflow}, {view.run_id}{until}")


def question(view: RunView, wait: Waiting, refused: str | None = None) -> Question:
    """What ``wait`` asks. ``refused``: why the answer before was not taken."""
    said = [*([refused] if refused else []), about(view, wait)]
    properties: dict[str, Any] = {}
    required: list[str] = []
    if wait.kind == "approval":
        properties["decision"] = {"type": "string", "title": "Decision", "enum": list(DECISIONS)}
        required.append("decision")
    for key, field in _fields(wait).items():
        properties[key] = _shown(field) or _in_json(field)
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
        value = _read(field, content.get(key))
        if value is not None:
            filled[field.name] = value
    if wait.kind == "signal":
        return filled.get("data", {}) if wait.schema is None else filled
    answer: dict[str, Any] = {name: content[name] for name in ("decision", "note") if content.get(name)}
    if filled:
        answer["form"] = filled
    return answer


def _fields(wait: Waiting) -> dict[str, Field]:
    """What is to be filled in, by the key that it has in the form: flat, so that a name may have to make way."""
    if wait.kind == "signal" and wait.schema is None:
        return {"data": Field("data", "other", False, {"title": "Data", "type": "object"})}
    taken = {"decision", "note"} if wait.kind == "approval" else set[str]()
    fields: dict[str, Field] = {}
    for field in fields_of(wait):
        key = field.name
        while key in taken:
            key = f"form_{key}"
        taken.add(key)
        fields[key] = field
    return fields


def _shown(field: Field) -> dict[str, Any] | None:
    """How a client shows it; ``None``: as JSON."""
    told = {word: text for word, text in (("title", field.title), ("description", field.description)) if text}
    match field.kind:
        case "other":
            return None
        case "list":
            said = f"{field.description} {_LIST}" if field.description else _LIST
            return {"type": "string", **told, "description": said}
        case "choices":
            bounds = {word: field.rules[word] for word in ("minItems", "maxItems") if word in field.rules}
            return {"type": "array", **told, "items": _choices(field, "anyOf"), **bounds}
        case "choice":
            return {**_choices(field, "oneOf"), **told, **_preset(field)}
        case "text" | "number" | "integer" | "yes_no":
            return {"type": _TYPES[field.kind], **told, **_default(field), **_words(field)}


def _words(field: Field) -> dict[str, Any]:
    words: dict[str, Any] = {word: field.rules[word] for word in _WORDS[field.kind] if word in field.rules}
    return words | ({"format": field.rules["format"]} if field.rules.get("format") in _FORMATS else {})


def _default(field: Field) -> dict[str, Any]:
    default = field.rules.get("default")
    fits = isinstance(default, _DEFAULTS[field.kind]) and isinstance(default, bool) == (field.kind == "yes_no")
    return {"default": default} if fits else {}


def _choices(field: Field, titled: str) -> dict[str, Any]:
    """``titled``: the keyword of choices that have titles, which forms know by another name in a list."""
    told = [(text, choice.title) for text, choice in _by_text(field).items()]
    if all(text == title for text, title in told):
        return {"type": "string", "enum": [text for text, _ in told]}
    choices = {titled: [{"const": text, "title": title} for text, title in told]}
    return {"type": "string", **choices} if titled == "oneOf" else choices


def _preset(field: Field) -> dict[str, str]:
    """The choice that is made already, if one is."""
    if "default" not in field.rules:
        return {}
    default = as_json(field.rules["default"])
    made = [text for text, choice in _by_text(field).items() if as_json(choice.value) == default]
    return {"default": made[0]} if made else {}


def _by_text(field: Field) -> dict[str, Choice]:
    """The choices by what stands for each, as forms know choices of texts alone."""
    texts = all(isinstance(choice.value, str) for choice in field.choices)
    return {str(choice.value) if texts else as_json(choice.value): choice for choice in field.choices}


def _read(field: Field, value: Any) -> Any:
    """The value as it was meant. What was left empty is ``None``, if it may be."""
    if isinstance(value, str) and not value.strip() and not (field.required and field.kind not in ("other", "list")):
        return None
    match field.kind:
        case "other":
            return _from_json(value)
        case "choice":
            return _meant(field, value)
        case "choices":
            given = _from_json(value)
            return [_meant(field, one) for one in cast("list[Any]", given)] if isinstance(given, list) else given
        case "list":
            return _items(field, value)
        case _:
            return value


def _items(field: Field, value: Any) -> Any:
    """Of a list as a person wrote it down. What begins as a JSON list does is one, or is left to the check."""
    if not isinstance(value, str) or value.lstrip().startswith("["):
        return _from_json(value)
    texts = field.item is not None and field.item.kind == "text"
    return [one if texts else _from_json(one) for one in several(value)]


def _meant(field: Field, value: Any) -> Any:
    choice = _by_text(field).get(value) if isinstance(value, str) else None
    return value if choice is None else choice.value


def _in_json(field: Field) -> dict[str, Any]:
    shape = {word: value for word, value in field.rules.items() if word not in ("title", "description")}
    said = f"JSON: {cut(as_json(shape), _SHOWN_OF_A_SCHEMA)}"
    return {
        "type": "string",
        **({"title": field.title} if field.title else {}),
        "description": f"{field.description} {said}" if field.description else said,
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


def standstill(view: RunView, refused: str | None = None) -> Question:
    """How the paused run goes on, as its error allows. ``refused``: why the answer before was not taken."""
    error = view.error
    step = error.step if error is not None and error.step else None
    happened = f"{step}: {error.message}" if error is not None and step else error.message if error is not None else ""
    said = [refused] if refused else []
    said += [f"{view.workflow} stands still. {cut(happened, _LONGEST)}".strip(), f"{view.run_id}: how does it go on?"]
    properties: dict[str, Any] = {
        "choice": {
            "type": "string",
            "title": "How it goes on",
            "oneOf": [{"const": name, "title": title} for name, title in _ways_on(view, step).items()],
        }
    }
    if not view.once_in_doubt:
        properties["input"] = _correction("Input", "the run's input")
        if error is not None and correctable(error.request):
            properties["request"] = _correction("Request", "the failed step's body, query or arguments")
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
        ways["output"] = f"Take the output below for {step}"
    if step is not None and view.skippable:
        ways["skip"] = f"Leave {step} out"
    undone = f" and undo {listed(view.would_undo[:5])}" if view.would_undo else ""
    stays = f"; what {listed(view.stays[:5])} did stays" if view.stays else ""
    return {**ways, "cancel": f"Cancel the run{undone}{stays}"}


def _correction(title: str, of: str) -> dict[str, str]:
    return {"type": "string", "title": title, "description": f"Corrections merged into {of}, as a JSON object"}
