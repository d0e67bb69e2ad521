"""A compiled expression as a tree: what CEL's checker resolved, read from its serialized form.

The library gives no other access to what it parsed. The form is protobuf's ``cel.expr.CheckedExpr``
(github.com/google/cel-spec, proto/cel/expr/{checked,syntax}.proto); the few fields needed are read by hand, so that no
protobuf runtime is needed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Const:
    id: int
    kind: str
    value: None | bool | int | float | str | bytes


@dataclass(frozen=True, slots=True)
class Ident:
    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Select:
    id: int
    operand: Node
    field: str
    test_only: bool


@dataclass(frozen=True, slots=True)
class Call:
    """``args`` begins with the receiver, if ``member``."""

    id: int
    function: str
    args: tuple[Node, ...]
    member: bool


@dataclass(frozen=True, slots=True)
class Group:
    """A list, map or message literal: what matters here is what stands in it."""

    id: int
    kind: str
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Comprehension:
    id: int
    variables: frozenset[str]
    accumulator: str
    range: Node
    init: Node
    condition: Node
    step: Node
    result: Node


Node: TypeAlias = Const | Ident | Select | Call | Group | Comprehension


@dataclass(frozen=True, slots=True)
class Tree:
    root: Node
    offsets: Mapping[int, int]
    """Characters from the beginning of the expression, by a node's id."""


def read(serialized: bytes) -> Tree:
    """The tree of what ``serialize()`` gave: a ``CheckedExpr``, perhaps inside an ``Any``."""
    fields = list(_fields(serialized))
    if fields and isinstance(fields[0][1], bytes) and fields[0][1].startswith(b"type.googleapis.com/"):
        fields = list(_fields(_bytes(fields[1][1])))
    root: Node | None = None
    offsets: dict[int, int] = {}
    for number, value in fields:
        if number == 4:
            root = _node(_bytes(value))
        elif number == 5:
            offsets = _positions(_bytes(value))
    assert root is not None
    return Tree(root, offsets)


def _positions(data: bytes) -> dict[int, int]:
    offsets: dict[int, int] = {}
    for number, entry in _fields(data):
        if number == 4:
            pair = dict(_fields(_bytes(entry)))
            offsets[_int(pair.get(1, 0))] = _int(pair.get(2, 0))
    return offsets


def _node(data: bytes) -> Node:
    identity = 0
    node: Node | None = None
    for number, value in _fields(data):
        if number == 2:
            identity = _int(value)
        elif number in _KINDS:
            node = _KINDS[number](identity, _bytes(value))
    return node if node is not None else Const(identity, "null", None)


def _const(identity: int, data: bytes) -> Node:
    for number, value in _fields(data):
        match number:
            case 1:
                return Const(identity, "null", None)
            case 2:
                return Const(identity, "bool", bool(value))
            case 3:
                signed = _int(value)
                return Const(identity, "int", signed - (1 << 64) if signed >> 63 else signed)
            case 4:
                return Const(identity, "uint", _int(value))
            case 5:
                return Const(identity, "double", struct.unpack("<d", _bytes(value))[0])
            case 6:
                return Const(identity, "string", _bytes(value).decode())
            case _:
                return Const(identity, "bytes", _bytes(value) if isinstance(value, bytes) else b"")
    return Const(identity, "null", None)


def _ident(identity: int, data: bytes) -> Node:
    return Ident(identity, _text(dict(_fields(data)).get(1, b"")))


def _select(identity: int, data: bytes) -> Node:
    parts = dict(_fields(data))
    return Select(identity, _node(_bytes(parts[1])), _text(parts.get(2, b"")), bool(parts.get(3, 0)))


def _call(identity: int, data: bytes) -> Node:
    function, member, args = "", False, list[Node]()
    for number, value in _fields(data):
        if number == 1:
            member = True
            args.insert(0, _node(_bytes(value)))
        elif number == 2:
            function = _text(value)
        else:
            args.append(_node(_bytes(value)))
    return Call(identity, function, tuple(args), member)


def _list(identity: int, data: bytes) -> Node:
    return Group(identity, "list", tuple(_node(_bytes(value)) for number, value in _fields(data) if number == 1))


def _struct(identity: int, data: bytes) -> Node:
    parts: list[Node] = []
    for number, value in _fields(data):
        if number == 2:
            parts += [_node(_bytes(part)) for field, part in _fields(_bytes(value)) if field in (3, 4)]
    return Group(identity, "map", tuple(parts))


def _comprehension(identity: int, data: bytes) -> Node:
    parts = dict(_fields(data))
    nodes = {number: _node(_bytes(parts[number])) for number in (2, 4, 5, 6, 7) if number in parts}
    none = Const(0, "null", None)
    return Comprehension(
        identity,
        frozenset(_text(parts[number]) for number in (1, 8) if number in parts),
        _text(parts.get(3, b"")),
        *(nodes.get(number, none) for number in (2, 4, 5, 6, 7)),
    )


_KINDS = {3: _const, 4: _ident, 5: _select, 6: _call, 7: _list, 8: _struct, 9: _comprehension}


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Protobuf's wire format: the number and the raw value of each field."""
    at = 0
    end = len(data)
    while at < end:
        tag, at = _varint(data, at)
        match tag & 7:
            case 0:
                value, at = _varint(data, at)
                yield tag >> 3, value
            case 2:
                size, at = _varint(data, at)
                yield tag >> 3, data[at : at + size]
                at += size
            case wire:
                size = 8 if wire == 1 else 4
                yield tag >> 3, data[at : at + size]
                at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = data[at]
        at += 1
        result |= (byte & 127) << shift
        if byte < 128:
            return result, at
        shift += 7


def _bytes(value: int | bytes) -> bytes:
    assert isinstance(value, bytes)
    return value


def _int(value: int | bytes) -> int:
    assert isinstance(value, int)
    return value


def _text(value: int | bytes) -> str:
    return _bytes(value).decode()
