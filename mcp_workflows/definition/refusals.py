"""Pydantic's errors as the language's own: the words of an author's mistake, at the place of it.

After the form was refused, what is left of it is still compiled, so that all errors of a file are reported at once:
``checked_form`` takes the refused parts out and validates again.
"""

from __future__ import annotations

import copy
import re
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from mcp_workflows.definition.model import (
    Approval,
    Arm,
    Auth,
    Callback,
    Case,
    Cases,
    Child,
    Compensation,
    Defaults,
    Fail,
    ForEach,
    Http,
    Jq,
    Mcp,
    McpTool,
    Poll,
    Python,
    Repeat,
    Retry,
    Service,
    Signal,
    Step,
    WaitUntil,
    Workflow,
)
from mcp_workflows.definition.model.step import KINDS, LATER_KINDS
from mcp_workflows.definition.phrases import describe, did_you_mean, listed
from mcp_workflows.definition.text.document import Document, Path
from mcp_workflows.definition.text.nodes import Node, Scalar, to_json

_PARTS: dict[str, tuple[str, type[BaseModel]]] = {
    "http": ("http", Http),
    "poll": ("poll", Poll),
    "callback": ("callback", Callback),
    "python": ("python", Python),
    "mcp_tool": ("mcp_tool", McpTool),
    "jq": ("jq", Jq),
    "workflow": ("workflow", Child),
    "signal": ("signal", Signal),
    "approval": ("approval", Approval),
    "switch": ("switch", Cases),
    "else": ("else", Case),
    "for_each": ("for_each", ForEach),
    "repeat": ("repeat", Repeat),
    "auth": ("auth", Auth),
    "retry": ("retry", Retry),
    "defaults": ("defaults", Defaults),
    "mcp": ("mcp", Mcp),
    "fail": ("fail", Fail),
    "wait": ("wait", WaitUntil),
    "compensate": ("compensate", Compensation),
}
_EXPECTED = {
    "model_type": "a mapping",
    "dict_type": "a mapping",
    "list_type": "a list",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "string_type": "a text",
}
_FROM_ELSEWHERE: dict[type[BaseModel], dict[str, str]] = {
    Step: {
        **dict.fromkeys(("if", "condition"), "Here it is when, or the kind switch"),
        **dict.fromkeys(("sleep", "delay", "pause"), "Here it is wait"),
        **dict.fromkeys(("while", "until", "loop"), "Here it is the kind repeat"),
        **dict.fromkeys(("catch", "rescue", "except"), "Here it is on_error"),
        **dict.fromkeys(("rollback", "undo"), "Here it is compensate"),
        **dict.fromkeys(("run", "script", "function", "activity", "call"), "Work is done by http, python or mcp_tool"),
        **dict.fromkeys(("depends_on", "dependsOn", "needs", "next"), "Leave it out: steps are done in their order"),
        **dict.fromkeys(("name", "taskReferenceName", "ref"), "Here it is id"),
        **dict.fromkeys(("type", "kind", "uses"), "The kind is a key of its own, such as http"),
    },
    Http: {
        **dict.fromkeys(("body", "data"), "Here it is json, form or text"),
        **dict.fromkeys(("params", "qs"), "Here it is query"),
    },
    Python: dict.fromkeys(("function", "name", "fn"), "Here it is call"),
    Approval: dict.fromkeys(("prompt", "question", "text", "title"), "Here it is message"),
    ForEach: dict.fromkeys(("in", "list", "of", "over"), "Here it is items"),
    Repeat: {
        **dict.fromkeys(("times", "count", "max"), "Here it is max_iterations"),
        "while": "Here it is until, which ends it",
    },
    WaitUntil: dict.fromkeys(("seconds", "minutes", "for", "duration"), "Write the duration itself, wait: 10m"),
    Workflow: {"tasks": "Here it is steps", "env": "Here it is vars"},
}
"""What others call it, and what it is here."""
_LOOKS_EMPTY = "\u00a0\u1680\u202f\u205f\u3000"
_MANY = 8
"""Keys that are told; whoever needs more needs the manual."""
_PASSES = 50
_LISTS = frozenset({"steps", "compensate", "switch", "on_error", "else"})
"""Keys of lists whose elements may be emptied and still be what they are."""
_NAMED_LISTS = frozenset({"parallel", "cases"})
"""Keys under which such lists stand, each under a name of the author's."""


def checked_form(document: Document) -> Workflow:
    """The document as a model. What does not fit is reported to ``document`` and left out of the model."""
    data = cast("dict[str, Any]", to_json(document.root))
    for attempt in range(_PASSES):
        try:
            return Workflow.model_validate(data)
        except ValidationError as invalid:
            errors = invalid.errors(include_url=False)
            for error in errors:
                path = _path(error["loc"])
                if attempt == 0:
                    _report(document, path, cast("dict[str, Any]", error))
            data = _without(data, [_to_cut(_path(error["loc"]), error["type"]) for error in errors])
    raise AssertionError("each pass takes something out, until nothing refused is left")


def _path(loc: tuple[int | str, ...]) -> Path:
    """Pydantic's location without the names of the alternatives it tried, and without its word for a key."""
    return tuple(part for part in loc if not (isinstance(part, str) and re.fullmatch(r"<\w+>|\[key\]", part)))


def _report(document: Document, path: Path, error: dict[str, Any]) -> None:
    """One error of Pydantic's, as a problem."""
    kind: str = error["type"]
    context: dict[str, Any] = error.get("ctx") or {}
    node = document.nearest(path)
    if error["loc"][-1] == "[key]" or _is_empty(node):
        node = document.key(path) or node
    if kind == "extra_forbidden":
        _unknown_key(document, path)
    elif kind == "refused":
        message = str(context["message"])
        if message.startswith("expected ") and (shape := _shape(path)):
            message = f"expected {shape}, found {describe(document.value(path))}"
        document.refuse(node, str(context["code"]), message)
    elif kind == "missing":
        noun, _ = _part(path[:-1])
        key = document.key(path[:-1]) or document.nearest(path[:-1])
        document.refuse(key, "missing", f'{noun} needs "{path[-1]}"')
    else:
        document.refuse(node, "value", _message(kind, context, document.value(path), str(error["msg"]), path))


def _is_empty(node: Node) -> bool:
    """Nothing was written, so that only the key shows where."""
    return isinstance(node, Scalar) and node.start == node.end


def _message(kind: str, context: dict[str, Any], value: object, otherwise: str, path: Path) -> str:
    found = "nothing" if value is None else describe(value)
    match kind:
        case "greater_than_equal":
            return f"must be at least {context['ge']}, found {found}"
        case "less_than_equal":
            return f"must be at most {context['le']}, found {found}"
        case "too_short":
            return f"must have at least {context['min_length']}, found {context['actual_length']}"
        case "too_long":
            return f"must have at most {context['max_length']}, found {context['actual_length']}"
        case "string_pattern_mismatch":
            return f"{found} must match {context['pattern']}"
        case _:
            return f"expected {_expected(kind, path)}, found {found}" if kind in _EXPECTED else otherwise


def _shape(path: Path) -> str | None:
    """What belongs at ``path``, where the words of its type would not tell what to write."""
    match path:
        case ("input",):
            return "JSON Schema of the arguments, {required: [name], properties: {name: {type: string}}}"
        case (*_, "steps"):
            return "a list of steps, each beginning with -"
        case (*_, "http", "success"):
            return "a list such as [2xx, 404], or an expression"
        case (*_, int(), "parallel"):
            return "a mapping of lists of steps, each under a name"
        case (*_, int(), "switch"):
            return "a list of arms, or {value, cases}"
        case (*_, int(), "set"):
            return "a mapping of values"
        case _:
            return None


def _expected(kind: str, path: Path) -> str:
    """What belongs at ``path``: of a mapping whose keys are known, these too."""
    if kind in ("model_type", "dict_type", "list_type") and (shape := _shape(path)):
        return shape
    model = _PARTS[str(path[-1])][1] if kind == "model_type" and path and str(path[-1]) in _PARTS else None
    if model is None:
        return _EXPECTED[kind]
    keys = _keys(model)
    told = listed(keys, "or") if len(keys) <= _MANY else f"{', '.join(keys[:_MANY])} …"
    return f"a mapping with {told}"


def _part(path: Path) -> tuple[str, type[BaseModel]]:
    """What stands at ``path``, in words and as a model."""
    if not path:
        return "a workflow", Workflow
    if len(path) == 2 and path[0] == "services":
        return "a service", Service
    if path[-2:-1] == ("cases",):
        return "a case", Case
    if isinstance(path[-1], int):
        of_arms = path[-2] in ("switch", "on_error") and not _NAMED_LISTS.intersection(path[-3:-2])
        return ("an arm", Arm) if of_arms else ("a step", Step)
    return _PARTS[str(path[-1])]


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _unknown_key(document: Document, path: Path) -> None:
    noun, model = _part(path[:-1])
    name = str(path[-1])
    node = document.key(path) or document.nearest(path)
    if model in (Step, Compensation) and name in LATER_KINDS:
        document.refuse(node, "kind", f'"{name}" is not available in this version; it has {listed(KINDS)}')
    elif name.isprintable() and name.strip(_LOOKS_EMPTY) == name:
        hint = _where_it_belongs(name, model) or _called_here(name, model) or did_you_mean(name, _keys(model))
        document.refuse(
            node, "unknown_key", f'"{name}" is not a key of {noun}.{hint}'.removesuffix("." if not hint else "")
        )
    else:
        seen = "".join(one for one in name if one.isascii() and one.isprintable())
        document.refuse(node, "unknown_key", f'the key that looks like "{seen}" holds a character that cannot be seen')


def _called_here(name: str, model: type[BaseModel]) -> str:
    words = _FROM_ELSEWHERE.get(model, {})
    return f" {words[name]}" if name in words else ""


def _where_it_belongs(name: str, model: type[BaseModel]) -> str:
    if model in (Step, Compensation) and name in _keys(Http):
        return " It belongs under http"
    if model in (Arm, Case) and name in _keys(Step):
        return " It belongs to a step under steps"
    if model is not Workflow and model is not Step and name in _keys(Step):
        return " It belongs to the step"
    return ""


def _to_cut(path: Path, kind: str) -> Path:
    """What has to go: of something that lacks a key, the whole of it."""
    return path[:-1] if kind == "missing" else path


def _without(data: dict[str, Any], paths: list[Path]) -> dict[str, Any]:
    data = copy.deepcopy(data)
    for path in paths:
        if path:
            _cut(data, path)
    data.setdefault("name", "unnamed")
    if not data.get("steps"):
        data["steps"] = [{}]
    return data


def _cut(data: dict[str, Any], path: Path) -> None:
    """Takes out what is at ``path``. A step becomes an empty one, so that its neighbours keep their places."""
    holders: list[Any] = [data]
    for part in path[:-1]:
        if not _has(holders[-1], part):
            return  # taken out already, with what it stood in
        holders.append(holders[-1][part])
    for depth in range(len(holders) - 1, -1, -1):
        holder, part = holders[depth], path[depth]
        held_by = path[max(depth - 2, 0) : depth]
        of_steps = not _LISTS.isdisjoint(held_by[-1:]) or not _NAMED_LISTS.isdisjoint(held_by[:-1])
        if isinstance(holder, dict):
            cast("dict[str, Any]", holder).pop(str(part), None)
            return
        if isinstance(part, int) and of_steps and holder[part] != {}:
            holder[part] = {}
            return


def _has(holder: Any, part: str | int) -> bool:
    if isinstance(holder, list):
        return isinstance(part, int) and part < len(cast("list[Any]", holder))
    return isinstance(holder, dict) and part in holder
