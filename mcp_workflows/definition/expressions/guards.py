"""Makes a checked tree safe and cheap to evaluate, whatever it is given.

- Instants are bound as text, and parsed here: the library takes an instant only in a variable of its own.
- ``map``, ``filter`` and ``transformList`` copy what they have built for each element (8,000 elements are 4 s and 1 GB with the GIL
  held), so they stop at 2,000.
- Functions whose cost or result is a product of what they are given (``replace``, ``join``, ``sets.…``) become bounded
  stand-ins, unless an argument is a short constant.
- An optional result becomes a list of none or one, which can be converted.

An optional that reaches a Python function crashes the process, so one that may is refused at load.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from mcp_workflows.definition.expressions.environments import ADDED, BOUNDED
from mcp_workflows.definition.expressions.optionals import Kind, kind_of, scopes
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
from mcp_workflows.definition.expressions.variables import INSTANTS

MAX_BUILT = 2_000
MAX_TEXT = 1 << 20
_SHORT = 16

_STAND_INS = {
    "replace": "bounded_replace",
    "join": "bounded_join",
    "contains": "bounded_contains",
    "indexOf": "bounded_index_of",
    "split": "bounded_split",
    "lists.range": "bounded_range",
    "sets.contains": "bounded_set_contains",
    "sets.equivalent": "bounded_set_equivalent",
    "sets.intersects": "bounded_set_intersects",
}
_CHEAP_WITH_SHORT_CONSTANT = frozenset({"join", "contains", "indexOf", "split", "lists.range"})
_PYTHON = frozenset(overload.function for overload in (*ADDED, *BOUNDED)) | frozenset(_STAND_INS)


def optionals_into_python(root: Node) -> Iterator[Call]:
    """Calls of Python functions that an optional may reach."""

    def walk(node: Node, bound: Mapping[str, Kind]) -> Iterator[Call]:
        if isinstance(node, Call) and node.function in _PYTHON:
            if any(kind_of(part, bound) is not Kind.PLAIN for part in node.operands):
                yield node
        for child, inner in scopes(node, bound):
            yield from walk(child, inner)

    return walk(root, {})


def guarded(root: Node, *, optional: bool) -> Node:
    """The tree to evaluate instead of ``root``."""
    tree = _guard(root)
    return ListLiteral(0, (tree,), frozenset({0})) if optional else tree


def _guard(node: Node) -> Node:
    match node:
        case Ident(_, name) if name in INSTANTS:
            return Call(0, "timestamp", (node,))
        case Select():
            return replace(node, operand=_guard(node.operand))
        case Call():
            args = tuple(_guard(arg) for arg in node.args)
            target = None if node.target is None else _guard(node.target)
            return _bounded_call(replace(node, args=args, target=target))
        case ListLiteral():
            return replace(node, elements=tuple(_guard(part) for part in node.elements))
        case MapLiteral():
            entries = tuple(
                replace(entry, key=None if entry.key is None else _guard(entry.key), value=_guard(entry.value))
                for entry in node.entries
            )
            return replace(node, entries=entries)
        case Comprehension():
            return _bounded_comprehension(node)
        case _:
            return node


def _bounded_comprehension(node: Comprehension) -> Comprehension:
    condition = _guard(node.condition)
    if isinstance(node.init, ListLiteral) and not isinstance(node.step, Ident):
        size = Call(0, "size", (Ident(0, node.accumulator),))
        within = Call(0, "_<_", (size, Const(0, "int", MAX_BUILT)))
        condition = Call(0, "_?_:_", (within, condition, Call(0, "list_too_long", ())))
    return replace(
        node,
        range=_guard(node.range),
        init=_guard(node.init),
        condition=condition,
        step=_guard(node.step),
        result=_guard(node.result),
    )


def _bounded_call(node: Call) -> Node:
    if node.function == "regex.replace" and len(node.args) > 2:
        return _bounded_regex_replace(node)
    stand_in = _STAND_INS.get(node.function)
    if stand_in is None:
        return node
    if node.function in _CHEAP_WITH_SHORT_CONSTANT and (not node.args or _is_short(node.args[0])):
        return node
    return replace(node, function=stand_in)


def _is_short(node: Node) -> bool:
    match node:
        case Const(value=str() as text):
            return len(text) <= _SHORT
        case Const(value=bool() | int() as number):
            return number <= MAX_BUILT
        case _:
            return False


def _bounded_regex_replace(node: Call) -> Node:
    """As it stands where every character could become the replacement and the text still be short enough."""
    text, pattern, new, *rest = node.args
    names = "@text", "@new"
    bound = replace(node, args=(Ident(0, names[0]), pattern, Ident(0, names[1]), *rest))
    one = Const(0, "int", 1)
    sizes = [Call(0, "_+_", (Call(0, "size", (Ident(0, name),)), one)) for name in names]
    within = Call(0, "_<=_", (Call(0, "_*_", tuple(sizes)), Const(0, "int", MAX_TEXT * _SHORT)))
    body: Node = Call(0, "_?_:_", (within, bound, Call(0, "text_too_long", ())))
    for name, value in reversed(list(zip(names, (text, new), strict=True))):
        body = _let(name, value, body)
    return body


def _let(name: str, value: Node, body: Node) -> Comprehension:
    """``cel.bind(name, value, body)``."""
    never = Const(0, "bool", False)
    return Comprehension(0, "#unused", "", ListLiteral(0, ()), name, value, never, Ident(0, name), body)
