"""The field types that all models of the language share: how a value is checked, and how editors are told of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, cast

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
    {
        *("get_run", "list_runs", "signal_run", "resume_run", "cancel_run"),
        *("find_workflows", "start_workflow"),
        *("validate_definition", "test_definition", "save_definition"),
    }
)
"""Names that no workflow can have, since a server may have tools of that name."""


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


def _found(value: object) -> str:
    return "nothing" if value is None else describe(value)


def _text(value: object) -> object:
    if isinstance(value, str):
        return value
    raise ValueError(f"expected a text, found {_found(value)}")


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


BranchName = Annotated[
    str,
    _check("id", _identifier),
    WithJsonSchema({"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}),
]
"""A branch's name, a key of the block's output."""

ItemName = BranchName
"""What the steps of a ``for_each`` call the element. That it shadows nothing is checked while compiling."""


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


def _as_name(value: object) -> str:
    """``. Use refund_order`` for ``Refund-Order``."""
    name = re.sub(r"[^a-z0-9]+", "_", value.lower()).strip("_") if isinstance(value, str) else ""
    return f". Use {name}" if re.fullmatch(r"[a-z][a-z0-9_]{0,47}", name) else ""


def _workflow_name(value: object) -> object:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z][a-z0-9_]{0,47}", value):
        raise ValueError(
            f"{describe(value)} must match [a-z][a-z0-9_]{{0,47}} (it becomes a tool name){_as_name(value)}"
        )
    if value in BUILT_IN_TOOLS:
        raise ValueError(f'"{value}" is the name of a built-in tool')
    return value


WorkflowName = Annotated[
    str, _check("name", _workflow_name), WithJsonSchema({"type": "string", "pattern": "^[a-z][a-z0-9_]{0,47}$"})
]
"""A workflow's name, which becomes its tool's."""


def _not_that(place: str) -> Callable[[object], object]:
    def check(value: object) -> object:
        if isinstance(value, str):
            return value
        text = describe(value) if isinstance(value, int | float) else "…"
        raise ValueError(
            f"{place} must be an expression that gives true or false, found {describe(value)}. Write ${{{text}}}"
        )

    return check


def condition_at(place: str) -> BeforeValidator:
    """Of a ``Condition`` that is not a step's ``when``: what messages call it."""
    return _check("expr", _not_that(place))


Condition = Annotated[
    str, condition_at("when"), WithJsonSchema({"type": "string", "pattern": r"^\s*\$\{[\s\S]*\}\s*$"})
]
"""One ``${…}`` that gives true or false; the rest is checked when it is compiled."""

Response = Annotated[
    Literal["auto", "json", "text", "blob", "none"], one_of("http", "auto", "json", "text", "blob", "none")
]
"""How the body of an answer is read."""

Method = Annotated[
    Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
    one_of("http", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"),
]


def _object(value: object) -> object:
    if isinstance(value, dict) or (isinstance(value, str) and value.strip().startswith("${")):
        return cast("object", value)
    raise ValueError(f"expected a mapping, or an expression that gives one, found {_found(value)}")


ObjectOrExpression = Annotated[
    Json,
    _check("value", _object),
    WithJsonSchema({"anyOf": [{"type": "object"}, {"type": "string", "pattern": r"^\s*\$\{[\s\S]*\}\s*$"}]}),
]
"""A mapping with expressions at its leaves, or one expression that gives a map."""


def only_true(code: str, otherwise: str) -> BeforeValidator:
    """Checks that a key is ``true``, where leaving it out is the only other choice."""

    def check(value: object) -> object:
        if value is True:
            return value
        raise ValueError(f"{otherwise}, found {_found(value)}")

    return _check(code, check)


def _matching(pattern: str, what: str) -> Callable[[object], object]:
    def check(value: object) -> object:
        text = _plain(_text(value))
        if not re.fullmatch(pattern, str(text)):
            raise ValueError(f"{describe(text)} is no {what}")
        return text

    return check


_SIGNAL = r"[A-Za-z0-9_.:-]{1,64}"
SignalName = Annotated[
    str,
    _check("signal", _matching(_SIGNAL, "name of a signal: letters, digits, _ . : and -, at most 64")),
    WithJsonSchema({"type": "string", "pattern": f"^{_SIGNAL}$"}),
]
"""What a message is called."""

_FUNCTION = r"[A-Za-z_][A-Za-z0-9_]*"
FunctionName = Annotated[
    str,
    _check("python", _matching(_FUNCTION, "name of a function: it is called without its module")),
    WithJsonSchema({"type": "string", "pattern": f"^{_FUNCTION}$"}),
]
"""A registered function."""

_CHILD = r"[a-z][a-z0-9_]{0,47}"
ChildName = Annotated[
    str,
    _check("workflow", _matching(_CHILD, "name of a workflow")),
    WithJsonSchema({"type": "string", "pattern": f"^{_CHILD}$"}),
]
"""The workflow that a step starts; whether it is there is known only when all files are loaded."""


def _filter(value: object) -> object:
    text = _text(value)
    if "${" in str(text):
        raise ValueError("the filter is plain text: give values in input, and read them in the filter")
    return text


JqFilter = Annotated[str, _check("jq", _filter), WithJsonSchema({"type": "string"})]
"""A jq program."""

_HOST = r"(\*\.)?([A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
Host = Annotated[
    str,
    _check("http", _matching(_HOST, "host: write api.example.com, *.example.com or 10.0.0.7:8443")),
    WithJsonSchema({"type": "string", "pattern": f"^{_HOST}$"}),
]
"""A host that requests may be sent to."""


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
    if value != "continue":
        raise ValueError(f"{describe(value)} is not continue, nor a list of arms")
    return value


OnError = Annotated[Literal["continue"], _check("on_error", _on_error)]
"""What happens instead of the run's ``on_failure``."""
