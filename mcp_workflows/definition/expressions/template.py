"""JSON shapes with expressions at their leaves: what steps send, set and return."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from mcp_workflows.definition.expressions.expression import Expression, compile_expression
from mcp_workflows.definition.expressions.failures import ExpressionFailed
from mcp_workflows.definition.expressions.functions import to_json
from mcp_workflows.definition.expressions.text import split
from mcp_workflows.definition.expressions.url import Url
from mcp_workflows.definition.expressions.values import ABSENT
from mcp_workflows.definition.expressions.variables import Variables

Json = Any
_Render = Callable[[Mapping[str, Json]], Json]


@dataclass(frozen=True, slots=True)
class Joined:
    """A text of several pieces."""

    pieces: tuple[str | Expression, ...]


_RENDERED = (Expression, Joined, dict, list)
"""What is not the same for all values, or is to be made anew."""


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """A JSON shape of any nesting. Immutable; several threads may render it at once."""

    names: frozenset[str]
    """The roots to be found in ``values``; see ``Expression.names``."""
    expressions: tuple[Expression, ...]
    """In the order of the shape."""
    shape: Json = field(repr=False)
    """Dicts and lists of scalars, ``Expression``s and ``Joined``s."""
    _render: _Render = field(repr=False)

    @classmethod
    def of(cls, shape: Json) -> Template:
        """From dicts, lists and scalars, in which templates and expressions may stand at any depth."""
        flat = _flat(shape)
        expressions = tuple(_expressions(flat))
        names = frozenset[str]().union(*(expression.names for expression in expressions))
        return cls(names, expressions, flat, _renderer(flat))

    @property
    def is_literal(self) -> bool:
        return not self.expressions

    def render(self, values: Mapping[str, Json]) -> Json:
        """The JSON value. Of maps and lists, keys and elements whose optional has no value are left out.

        What it gives may share structure with ``values``: do not change it. Raises ``ExpressionFailed``, also when the
        whole has no value.
        """
        result = self._render(values)
        if result is ABSENT:
            raise ExpressionFailed("there is no value", self.expressions[0].source)
        return result

    def render_optional(self, values: Mapping[str, Json]) -> Json:
        """As ``render``, but ``ABSENT`` when the whole has no value."""
        return self._render(values)

    def render_url(self, values: Mapping[str, Json]) -> str:
        """The URL. Pieces inserted after its host are percent-encoded, so that they stay one segment or one value.

        Raises ``ExpressionFailed``, also for a piece that would make it another URL than its author wrote.
        """
        match self.shape:
            case Joined(pieces):
                url = Url()
                for piece in pieces:
                    if isinstance(piece, str):
                        url.add(piece)
                    else:
                        url.insert(_text(piece, values), piece.source)
                return url.finish()
            case _:
                return _as_text(self.render(values), self.expressions[0].source if self.expressions else "")


def compile_text(text: str, variables: Variables) -> Template:
    """Compile a text with ``${…}``. A text that is one expression keeps the expression's type; others are joined as text.

    Raises ``ExpressionInvalid``, whose offsets count in ``text``.
    """
    pieces = tuple(
        piece if isinstance(piece, str) else compile_expression(piece.source, variables, start=piece.start)
        for piece in split(text)
    )
    expressions = [piece for piece in pieces if isinstance(piece, Expression)]
    if not expressions:
        return Template.of("".join(cast("tuple[str, ...]", pieces)))
    if len(expressions) == 1 and all(piece is expressions[0] or not str(piece).strip() for piece in pieces):
        return Template.of(expressions[0])
    return Template.of(Joined(pieces))


def _flat(shape: Json) -> Json:
    """The shape without templates inside."""
    match shape:
        case Template():
            return shape.shape
        case dict():
            return {key: _flat(part) for key, part in cast("dict[str, Json]", shape).items()}
        case list():
            return [_flat(part) for part in cast("list[Json]", shape)]
        case _:
            return shape


def _expressions(shape: Json) -> Iterator[Expression]:
    match shape:
        case Expression():
            yield shape
        case Joined(pieces):
            yield from (piece for piece in pieces if isinstance(piece, Expression))
        case dict():
            for part in cast("dict[str, Json]", shape).values():
                yield from _expressions(part)
        case list():
            for part in cast("list[Json]", shape):
                yield from _expressions(part)
        case _:
            pass


def _renderer(shape: Json) -> _Render:
    """What renders ``shape``. Maps and lists are made anew each time; only what expressions find is shared."""
    match shape:
        case Expression():
            return shape.evaluate_optional
        case Joined(pieces):
            return lambda values: "".join(piece if isinstance(piece, str) else _text(piece, values) for piece in pieces)
        case dict():
            return _map_renderer(cast("dict[str, Json]", shape))
        case list():
            elements = [_renderer(part) for part in cast("list[Json]", shape)]

            def render_list(values: Mapping[str, Json]) -> Json:
                return [part for render in elements if (part := render(values)) is not ABSENT]

            return render_list
        case _:
            return lambda _: shape


def _map_renderer(shape: dict[str, Json]) -> _Render:
    """Scalars are only copied, so what is rendered is what may differ."""
    keys = {key: None if isinstance(part, _RENDERED) else part for key, part in shape.items()}
    entries = [(key, _renderer(part)) for key, part in shape.items() if isinstance(part, _RENDERED)]

    def render(values: Mapping[str, Json]) -> Json:
        rendered: dict[str, Json] = keys.copy()
        for key, part in entries:
            value = part(values)
            if value is ABSENT:
                del rendered[key]
            else:
                rendered[key] = value
        return rendered

    return render


def _text(expression: Expression, values: Mapping[str, Json]) -> str:
    return _as_text(expression.evaluate(values), expression.source)


def _as_text(value: Json, source: str) -> str:
    """A value as a piece of a text: text as it is, anything else as JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        raise ExpressionFailed("null cannot be a piece of a text", source)
    try:
        return to_json(value)
    except ValueError as failure:
        raise ExpressionFailed(str(failure), source) from None
