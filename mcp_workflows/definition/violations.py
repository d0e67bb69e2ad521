"""What a value does against a JSON Schema, in words that a model can act on: ``amount: "12" is a string, expected number.``"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, cast

from jsonschema.exceptions import ValidationError

from mcp_workflows.definition.phrases import did_you_mean
from mcp_workflows.definition.validator import TooIntricate, validator_of

_SHOWN = 10
_TYPES = {"string": "a string", "array": "an array", "object": "an object", "null": "null"}


def violations(schema: Mapping[str, Any], value: object) -> list[str]:
    """Every violation as ``PATH: what is wrong.``, in the order of paths; the first ten of many.

    Raises ``RecursionError`` for a schema whose references have no end.
    """
    try:
        errors = list(islice(_errors(validator_of(schema), value), _SHOWN + 1))
    except TooIntricate:
        return ["This is too intricate: the schema's references lead through it again and again."]
    errors.sort(key=lambda error: [str(part) for part in error.absolute_path])
    lines = [line for error in errors for line in _lines(error)]
    if len(lines) > _SHOWN:
        return [*lines[:_SHOWN], "There is more."]
    return lines


def _errors(validator: Any, value: object) -> Iterator[ValidationError]:
    return cast("Iterator[ValidationError]", validator.iter_errors(value))


def _lines(error: ValidationError) -> list[str]:
    """The lines of one error: what is missing or too much gets a line of its own, under its own path."""
    path = path_of(error.absolute_path)
    instance = cast("Any", error.instance)
    rule = cast("Any", error.validator_value)
    if error.validator == "required":
        name = next((name for name in rule if repr(name) in error.message), "")
        return [f"{_joined(path, str(name))}: is missing."]
    if error.validator == "additionalProperties" and rule is False:
        known = list(cast("Mapping[str, Any]", error.schema).get("properties", {}))
        patterns = cast("Mapping[str, Any]", error.schema).get("patternProperties")
        extra = [name for name in instance if name not in known] if not patterns else []
        return [f"{_joined(path, name)}: is not known.{did_you_mean(name, known)}" for name in extra] or [
            f"{path}: {error.message}."
        ]
    return [f"{path}: {sentence(error)}." if path else f"{sentence(error)}."]


def path_of(parts: Sequence[str | int]) -> str:
    """``items[0].name``"""
    text = ""
    for part in parts:
        text = f"{text}[{part}]" if isinstance(part, int) else _joined(text, str(part))
    return text


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def sentence(error: ValidationError) -> str:
    """What is wrong with the value, without its path and without a full stop."""
    value = shown(cast("object", error.instance))
    rule = cast("Any", error.validator_value)
    match error.validator:
        case "type":
            expected = rule if isinstance(rule, str) else " or ".join(rule)
            given = "is" if error.instance is None else f"{value} is"
            return f"{given} {_type_of(cast('object', error.instance))}, expected {expected}"
        case "enum":
            return f"{value} is not one of {', '.join(_plain(one) for one in rule)}"
        case "const":
            return f"{value} is not {shown(rule)}"
        case "format":
            return f"{value} is no {rule}"
        case "pattern":
            return f"{value} does not match {rule}"
        case "minimum" | "exclusiveMinimum":
            return (
                f"{value} is too small, expected {'at least' if error.validator == 'minimum' else 'more than'} {rule}"
            )
        case "maximum" | "exclusiveMaximum":
            return f"{value} is too large, expected {'at most' if error.validator == 'maximum' else 'less than'} {rule}"
        case "minLength" | "minItems" | "minProperties":
            return f"{value} is too short, expected at least {rule}"
        case "maxLength" | "maxItems" | "maxProperties":
            return f"{value} is too long, expected at most {rule}"
        case "anyOf" | "oneOf" if error.context:
            near = [inner for inner in error.context if inner.validator != "type"]
            reasons = dict.fromkeys(sentence(inner) for inner in near or error.context)
            if len(reasons) == 1:
                return next(iter(reasons))
            return f"{value} fits none of the alternatives: {'; '.join(reasons)}"
        case _:
            return error.message if len(error.message) <= 200 else f"{error.message[:199]}…"


def shown(value: object) -> str:
    """The value as JSON, cut."""
    match value:
        case dict():
            return "{…}" if value else "{}"
        case list():
            return "[…]" if value else "[]"
        case _:
            text = json.dumps(value, ensure_ascii=False)
            return text if len(text) <= 60 else f"{text[:58]}…{text[-1] if isinstance(value, str) else ''}"


def _plain(value: object) -> str:
    return value if isinstance(value, str) else shown(value)


def _type_of(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"
