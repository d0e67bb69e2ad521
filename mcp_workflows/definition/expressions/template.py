"""JSON shapes with expressions at their leaves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote

from mcp_workflows.definition.expressions.expression import Expression, compile_expression
from mcp_workflows.definition.expressions.failures import ExpressionFailed
from mcp_workflows.definition.expressions.text import split
from mcp_workflows.definition.expressions.values import ABSENT
from mcp_workflows.definition.expressions.variables import Variables


@dataclass(frozen=True, slots=True)
class Joined:
    """A text of several pieces."""

    pieces: tuple[str | Expression, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """A JSON shape of any nesting; its leaves are literals, expressions, or texts joined from pieces."""

    names: frozenset[str]
    expressions: tuple[Expression, ...]
    _shape: Any

    @classmethod
    def of(cls, shape: Any) -> Template:
        """A template from dicts, lists and scalars in which other templates may stand at any depth."""
        expressions = tuple(_expressions(shape))
        return cls(frozenset[str]().union(*(e.names for e in expressions)), expressions, shape)

    @property
    def is_literal(self) -> bool:
        return not self.expressions

    def render(self, values: Mapping[str, Any]) -> Any:
        """The JSON value. Raises ``ExpressionFailed``, also when there is no value at the top."""
        result = self.render_optional(values)
        if result is ABSENT:
            raise ExpressionFailed("there is no value", self.expressions[0].source)
        return result

    def render_optional(self, values: Mapping[str, Any]) -> Any:
        """As ``render``, but ``ABSENT`` when the whole has no value."""
        return _render(self._shape, values)

    def render_url(self, values: Mapping[str, Any]) -> str:
        """The text, with the inserted pieces that stand after the host percent-encoded."""
        shape = self._shape
        if not isinstance(shape, Joined):
            return str(self.render(values))
        out = ""
        for piece in shape.pieces:
            if isinstance(piece, str):
                out += piece
            else:
                text = _text(piece, values)
                out += quote(text, safe="") if out else text
        return out


def compile_text(text: str, variables: Variables) -> Template:
    """Compile a text with ``${…}``. A text that is one expression keeps the expression's type."""
    cut = len(text) - len(text.lstrip())
    pieces = split(text.strip())
    if len(pieces) == 1 and not isinstance(pieces[0], str):
        return Template.of(compile_expression(pieces[0].source, variables, start=pieces[0].start + cut))
    compiled = tuple(
        piece if isinstance(piece, str) else compile_expression(piece.source, variables, start=piece.start)
        for piece in split(text)
    )
    if all(isinstance(piece, str) for piece in compiled):
        return Template.of("".join(cast("tuple[str, ...]", compiled)))
    return Template.of(Joined(compiled))


def _expressions(shape: Any) -> list[Expression]:
    if isinstance(shape, Expression):
        return [shape]
    if isinstance(shape, Template):
        return list(shape.expressions)
    if isinstance(shape, Joined):
        return [piece for piece in shape.pieces if isinstance(piece, Expression)]
    if isinstance(shape, Mapping):
        return [e for part in cast("Mapping[str, Any]", shape).values() for e in _expressions(part)]
    if isinstance(shape, Sequence) and not isinstance(shape, str):
        return [e for part in cast("Sequence[Any]", shape) for e in _expressions(part)]
    return []


def _render(shape: Any, values: Mapping[str, Any]) -> Any:
    match shape:
        case Expression():
            return shape.evaluate_optional(values)
        case Template():
            return shape.render_optional(values)
        case Joined():
            return "".join(piece if isinstance(piece, str) else _text(piece, values) for piece in shape.pieces)
        case dict():
            parts = {key: _render(part, values) for key, part in cast("dict[str, Any]", shape).items()}
            return {key: part for key, part in parts.items() if part is not ABSENT}
        case list():
            return [part for part in (_render(part, values) for part in cast("list[Any]", shape)) if part is not ABSENT]
        case _:
            return shape


def _text(expression: Expression, values: Mapping[str, Any]) -> str:
    value = expression.evaluate(values)
    if value is None:
        raise ExpressionFailed("null cannot be part of a text", expression.source)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
