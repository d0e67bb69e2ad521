"""A checked expression as a tree: CEL's syntax (cel-spec's ``proto/cel/expr/syntax.proto``), after macros are expanded.

A node's ``id`` says where it stands in the source (``Tree.offsets``); nodes made here have 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Const:
    """A literal. CEL tells ``int``, ``uint`` and ``double`` apart, so the kind is kept beside the value."""

    id: int
    kind: Literal["null", "bool", "int", "uint", "double", "string", "bytes"]
    value: bool | int | float | str | bytes | None


@dataclass(frozen=True, slots=True)
class Ident:
    """A variable; of a qualified one (``run.now``) the whole name."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Select:
    """``operand.field``; with ``test_only``, ``has(operand.field)``."""

    id: int
    operand: Node
    field: str
    test_only: bool


@dataclass(frozen=True, slots=True)
class Call:
    """A function or an operator (``_+_``, ``_[_]``, ``_?._`` …)."""

    id: int
    function: str
    args: tuple[Node, ...]
    target: Node | None = None
    """What stands before the dot of a member call."""

    @property
    def operands(self) -> tuple[Node, ...]:
        return self.args if self.target is None else (self.target, *self.args)


@dataclass(frozen=True, slots=True)
class ListLiteral:
    id: int
    elements: tuple[Node, ...]
    optional: frozenset[int] = frozenset()
    """Which elements are written ``?x``."""


@dataclass(frozen=True, slots=True)
class Entry:
    """``key: value`` of a map, or ``field: value`` of a message."""

    id: int
    key: Node | None
    field: str
    value: Node
    optional: bool


@dataclass(frozen=True, slots=True)
class MapLiteral:
    """A map, or a message if it has a name."""

    id: int
    message: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Comprehension:
    """What macros become: ``accumulator`` is ``init``, then ``step`` for each of ``range``, while ``condition``."""

    id: int
    variable: str
    second_variable: str
    range: Node
    accumulator: str
    init: Node
    condition: Node
    step: Node
    result: Node


Node: TypeAlias = Const | Ident | Select | Call | ListLiteral | MapLiteral | Comprehension


@dataclass(frozen=True, slots=True)
class Tree:
    root: Node
    offsets: Mapping[int, int]
    """Characters from the beginning of the source, by a node's id."""
    types: Mapping[int, str]
    """What the checker knows, by a node's id: ``int double string timestamp …``, ``other``; absent or ``dyn`` for nothing."""

    def type_of(self, node: Node) -> str:
        return self.types.get(node.id, "dyn")


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly under ``node``, in the order of the source."""
    match node:
        case Select():
            return (node.operand,)
        case Call():
            return node.operands
        case ListLiteral():
            return node.elements
        case MapLiteral():
            return tuple(part for entry in node.entries for part in (entry.key, entry.value) if part is not None)
        case Comprehension():
            return (node.range, node.init, node.condition, node.step, node.result)
        case _:
            return ()
