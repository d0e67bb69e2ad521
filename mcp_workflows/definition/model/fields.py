"""The field types that all models of the language share: how a value is checked, and how editors are told of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetCoreSchemaHandler, PlainValidator, WithJsonSchema
from pydantic_core import CoreSchema, PydanticCustomError

from mcp_workflows.definition.durations import PATTERN, parse_duration
from mcp_workflows.definition.phrases import describe, did_you_mean

Json: TypeAlias = Any

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
CEL_WORDS = frozenset(
    re.findall(
        r"\S+",
        "as break const continue else false for function if import in let loop namespace null package return true var void "
        "while",
    )
)
"""What CEL reads as something other than a name."""

BUILT_IN_TOOLS = frozenset(
    {"get_run", "list_runs", "signal_run", "resume_run", "cancel_run", "find_workflows", "start_workflow"}
)
"""Names that no workflow can have, since tools of that name follow runs."""


T = TypeVar("T")


class Given:
    """Of a key that may be left out: whoever writes it gives a value. An empty ``when:`` is a slip, not a step without one."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        return schema["schema"] if schema["type"] == "nullable" else schema


Maybe: TypeAlias = Annotated[T | None, Given()]
"""A key that may be left out."""


class Language(BaseModel):
    """What every model of the language is: closed, frozen, and never guessing at types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=False)


def refuse(code: str, message: str) -> PydanticCustomError:
    """An error whose code and sentence reach the author as they are."""
    return PydanticCustomError("refused", "{message}", {"code": code, "message": message})


def _refusing(code: str, check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def validate(value: Any) -> Any:
        try:
            return check(value)
        except ValueError as error:
            raise refuse(code, str(error)) from None

    return validate


def _check(code: str, check: Callable[[Any], Any]) -> BeforeValidator:
    return BeforeValidator(_refusing(code, check))


def _duration(value: object) -> float:
    seconds = parse_duration(value)
    if seconds <= 0:
        raise ValueError(f'"{value}" must be longer than nothing')
    return seconds


_DURATION_SCHEMA = {
    "type": "string",
    "pattern": PATTERN,
    "examples": ["250ms", "90s", "15m", "2h", "3d", "1h30m", "PT90S"],
}

Duration = Annotated[float, _check("duration", _duration), WithJsonSchema(_DURATION_SCHEMA)]
"""Seconds, more than nothing."""

Delay = Annotated[float, _check("duration", parse_duration), WithJsonSchema(_DURATION_SCHEMA)]
"""Seconds, or none."""


def _text(value: object) -> object:
    if isinstance(value, str):
        return value
    found = "nothing" if value is None else f"{value!r}" if isinstance(value, int | float) else describe(value)
    raise ValueError(f"expected a text, found {found}")


Text = Annotated[str, _check("value", _text), WithJsonSchema({"type": "string"})]
"""A text in which ``${…}`` may stand."""


def _plain(value: object) -> object:
    if isinstance(value, str) and "${" in value:
        raise ValueError("this is plain text, no expression can stand here")
    return value


PlainText = Annotated[str, _check("expr", _plain), _check("value", _text), WithJsonSchema({"type": "string"})]
"""A text that is taken as it is."""


def _retried(value: object) -> str:
    if type(value) is int and 100 <= value <= 599:
        return str(value)
    if isinstance(value, str) and re.fullmatch(r"[1-5]xx|[1-5]\d\d|[a-z][a-z0-9_]*", value):
        if re.fullmatch(r"[1-5]?x{1,3}\d*", value) and not re.fullmatch(r"[1-5]xx", value):
            raise ValueError(f'"{value}" is no class of status codes; write 2xx, 4xx or 5xx')
        return value
    raise ValueError(f"{describe(value)} is not what can be tried again: connect, timeout, 429, 5xx or an error code")


RetriedOn = Annotated[
    str,
    _check("retry", _retried),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 100, "maximum": 599},
                {"type": "string", "pattern": "^([1-5]xx|[1-5][0-9][0-9]|[a-z][a-z0-9_]*)$"},
            ],
            "examples": ["connect", "timeout", "429", "5xx"],
        }
    ),
]
"""What is tried again: ``connect``, ``timeout``, a status, a class of them, or an error's code."""


def _status(value: object) -> str:
    if type(value) is int and 100 <= value <= 599:
        return str(value)
    if isinstance(value, str) and re.fullmatch(r"[1-5]xx|[1-5]\d\d", value):
        return value
    raise ValueError(f"{describe(value)} is no status: write 200, 404 or 2xx")


Status = Annotated[
    str,
    _check("http", _status),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 100, "maximum": 599},
                {"type": "string", "pattern": "^([1-5]xx|[1-5][0-9][0-9])$"},
            ]
        }
    ),
]
"""A status code, or a class of them."""


def _identifier(value: object) -> object:
    text = _text(value)
    assert isinstance(text, str)
    if not IDENTIFIER.fullmatch(text):
        raise ValueError(not_an_identifier(text))
    if text in CEL_WORDS:
        raise ValueError(f'"{text}" is a reserved word of CEL (as, for, in, loop, package, var, …)')
    return text


def not_an_identifier(text: str) -> str:
    """What an expression would make of a name that is none, and a name to use instead."""
    better = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_") or "step"
    better = f"s_{better}" if better[0].isdigit() else better
    if re.fullmatch(r"[A-Za-z_]\w*(-[A-Za-z_]\w*)+", text, re.ASCII):
        read = text.replace("-", " minus ")
        return f'"{text}" is no identifier: an expression would read it as {read}. Use {better}'
    return f'"{text[:60]}" is no identifier: letters, digits and _ only. Use {better[:60]}'


StepId = Annotated[
    str,
    _check("id", _identifier),
    WithJsonSchema({"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}),
]
"""A step's name in expressions."""


def _variable(value: object) -> object:
    text = _text(value)
    assert isinstance(text, str)
    if not IDENTIFIER.fullmatch(text) or text in CEL_WORDS:
        raise ValueError(f'"{text[:60]}" is no name for a setting; use capital letters, digits and _, as in CRM_URL')
    return text


SettingName = Annotated[
    str,
    _check("name", _variable),
    WithJsonSchema({"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}),
]
"""A name that becomes part of an environment variable: ``CRM_URL``."""


def one_of(code: str, *words: str) -> BeforeValidator:
    """Checks a word against ``words`` before the type does, and says which one may have been meant."""

    def check(value: Any) -> Any:
        if isinstance(value, str) and value in words:
            return value
        near = did_you_mean(value, words) if isinstance(value, str) else ""
        raise ValueError(
            f"{describe(value)} is not one of {', '.join(words)}.{near}".removesuffix("." if not near else "")
        )

    return _check(code, check)


def _workflow_name(value: object) -> object:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z][a-z0-9_]{0,47}", value):
        raise ValueError(f"{describe(value)} must match [a-z][a-z0-9_]{{0,47}} (it becomes a tool name)")
    if value in BUILT_IN_TOOLS:
        raise ValueError(f'"{value}" is the name of a built-in tool')
    return value


WorkflowName = Annotated[
    str, _check("name", _workflow_name), WithJsonSchema({"type": "string", "pattern": "^[a-z][a-z0-9_]{0,47}$"})
]
"""A workflow's name, which becomes its tool's."""


def _expression(value: object) -> object:
    if isinstance(value, str):
        return value
    text = describe(value) if isinstance(value, int | float) else "…"
    raise ValueError(f"when must be an expression that gives true or false, found {describe(value)}. Write ${{{text}}}")


LATER_RESPONSES = frozenset({"blob"})
"""What the language has and this version has not."""


def _response(value: object) -> object:
    words = ("auto", "json", "text", "none")
    if value in LATER_RESPONSES:
        raise ValueError(f'"{value}" is not available in this version; it has {", ".join(words)}')
    if value not in words:
        near = did_you_mean(value, words) if isinstance(value, str) else ""
        raise ValueError(f"{describe(value)} is not one of {', '.join(words)}{'.' if near else ''}{near}")
    return value


Response = Annotated[Literal["auto", "json", "text", "none"], _check("http", _response)]
"""How the body of an answer is read."""

Condition = Annotated[
    str, _check("expr", _expression), WithJsonSchema({"type": "string", "pattern": r"^\s*\$\{[\s\S]*\}\s*$"})
]
"""One ``${…}`` that gives true or false; the rest is checked when it is compiled."""


def _key(value: object) -> object:
    if value is False or isinstance(value, str):
        return value
    raise ValueError(f"idempotency_key is a text or false, found {describe(value)}")


IdempotencyKey = Annotated[
    str | Literal[False],
    PlainValidator(_refusing("http", _key)),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"const": False}]}),
]
"""A text, or ``false``."""


def _on_error(value: object) -> object:
    if isinstance(value, list):
        raise ValueError("arms under on_error are not available in this version; continue is")  # noqa: TRY004
    if value != "continue":
        raise ValueError(f"{describe(value)} is not one of continue")
    return value


OnError = Annotated[Literal["continue"], _check("on_error", _on_error)]
"""What happens instead of the run's ``on_failure``."""
