"""Where an expression's values may hold optionals, found in its tree.

Two things depend on it. The library crashes the process when an optional reaches a Python function or is converted as
part of a larger value, and its static types do not tell (``list[?0]`` is typed ``dyn``). And ``${input.?note}`` must be
known as optional before it is evaluated. So the answer errs on the side of ``MIXED``, which is refused at load.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from mcp_workflows.definition.expressions.tree import (
    Call,
    Comprehension,
    Const,
    Ident,
    ListLiteral,
    MapLiteral,
    Node,
    Select,
)


class Kind(IntEnum):
    """What may be found in a value, in ascending order of doubt."""

    PLAIN = 0
    """No optional, at any depth."""
    OPTIONAL = 1
    """An optional of a plain value."""
    MIXED = 2
    """Perhaps an optional, perhaps a plain value, perhaps a value with an optional inside."""


_SCALAR = frozenset(
    {"hasValue", "size", "@in", "_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "_&&_", "_||_", "!_", "type"}
    | {"startsWith", "endsWith", "contains", "matches"}
)
"""Functions whose result holds no optional, whatever they are given."""

_STEPS_INTO = frozenset({"_[_]", "_[?_]", "_?._"})
_GIVES_OPTIONAL = frozenset(
    {"_?._", "_[?_]", "optional.of", "optional.ofNonZeroValue", "optional.none", "first", "last", "regex.extract"}
)


def kind_of(node: Node, bound: Mapping[str, Kind]) -> Kind:
    """What ``node`` may give; ``bound`` says it of the comprehension variables around it."""
    match node:
        case Const():
            return Kind.PLAIN
        case Ident():
            return bound.get(node.name, Kind.PLAIN)
        case Select():
            return Kind.PLAIN if node.test_only else kind_of(node.operand, bound)
        case Call():
            return _of_call(node, bound)
        case ListLiteral():
            return max(
                (_of_part(part, i in node.optional, bound) for i, part in enumerate(node.elements)), default=Kind.PLAIN
            )
        case MapLiteral():
            return max((_of_part(e.value, e.optional, bound) for e in node.entries), default=Kind.PLAIN)
        case Comprehension():
            return kind_of(node.result, in_comprehension(node, bound))


def _of_part(value: Node, optional: bool, bound: Mapping[str, Kind]) -> Kind:
    kind = kind_of(value, bound)
    if optional:
        return Kind.PLAIN if kind is not Kind.MIXED else Kind.MIXED
    return Kind.PLAIN if kind is Kind.PLAIN else Kind.MIXED


def _of_call(node: Call, bound: Mapping[str, Kind]) -> Kind:
    kinds = [kind_of(part, bound) for part in node.operands]
    name = node.function
    if name in _SCALAR:
        return Kind.PLAIN
    if Kind.MIXED in kinds:
        return Kind.MIXED
    if name == "_?_:_":
        return kinds[1] if kinds[1] is kinds[2] else Kind.MIXED
    if name == "or":
        return Kind.OPTIONAL if all(kind is Kind.OPTIONAL for kind in kinds) else Kind.MIXED
    if name in ("orValue", "value"):
        return max((Kind.PLAIN, *kinds[1:]))
    if name in _STEPS_INTO:
        return Kind.OPTIONAL if name in _GIVES_OPTIONAL else kinds[0]
    if Kind.OPTIONAL in kinds and name != "dyn":
        return Kind.MIXED
    return Kind.OPTIONAL if name in _GIVES_OPTIONAL else max(kinds, default=Kind.PLAIN)


def in_comprehension(node: Comprehension, bound: Mapping[str, Kind]) -> Mapping[str, Kind]:
    """What is bound inside ``node``."""
    # Elements of a plain list are plain; of anything else, who knows.
    element = Kind.PLAIN if kind_of(node.range, bound) is Kind.PLAIN else Kind.MIXED
    inner = {**bound, node.variable: element}
    if node.second_variable:
        inner[node.second_variable] = element
    inner[node.accumulator] = kind_of(node.init, bound)
    if kind_of(node.step, inner) is not inner[node.accumulator]:
        inner[node.accumulator] = Kind.MIXED
    return inner
