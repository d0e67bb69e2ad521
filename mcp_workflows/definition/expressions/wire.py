"""Trees from and to the library's serialized form, the only access it gives to what it parsed.

The form is ``cel.expr.CheckedExpr`` (cel-spec, ``proto/cel/expr/checked.proto``) in a ``google.protobuf.Any``. Only the
tree and the positions are read; what the checker inferred is left out again when a tree is written, and the library
then finds overloads when it evaluates, by the kinds of the arguments. Done by hand, so no protobuf runtime is needed.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from mcp_workflows.definition.expressions.tree import (
    Call,
    Comprehension,
    Const,
    Entry,
    Ident,
    ListLiteral,
    MapLiteral,
    Node,
    Select,
    Tree,
)

_ANY_TYPE = b"type.googleapis.com/cel.expr.CheckedExpr"
_NULL = Const(0, "null", None)

_Fields = Mapping[int, list[int | bytes]]


def read(serialized: bytes) -> Tree:
    """The tree of a checked expression."""
    checked = _fields(_bytes(_fields(serialized)[2][0]))
    positions: dict[int, int] = {}
    for entry in _fields(_bytes(checked[5][0])).get(4, []) if 5 in checked else []:
        pair = _fields(_bytes(entry))
        positions[_number(pair, 1)] = _number(pair, 2)
    types: dict[int, str] = {}
    for entry in checked.get(3, []):
        pair = _fields(_bytes(entry))
        types[_number(pair, 1)] = _type(_fields(_bytes(pair[2][0])))
    return Tree(_node(_bytes(checked[4][0])), positions, types)


def write(root: Node) -> bytes:
    """The serialized form of a tree, which the library takes back."""
    return _message((1, _ANY_TYPE), (2, _message((4, _expr(root)))))


# ---- reading

_PRIMITIVES = {1: "bool", 2: "int", 3: "uint", 4: "double", 5: "string", 6: "bytes"}
_WELL_KNOWN = {2: "timestamp", 3: "duration"}


def _type(fields: _Fields) -> str:
    if 3 in fields:
        return _PRIMITIVES.get(_number(fields, 3), "other")
    if 6 in fields or 7 in fields:
        return "list" if 6 in fields else "map"
    if 5 in fields:
        return _WELL_KNOWN.get(_number(fields, 5), "other")
    return "dyn" if 1 in fields or not fields else "other"


def _node(data: bytes) -> Node:
    fields = _fields(data)
    node_id = _number(fields, 2)
    for number, build in _BUILDERS.items():
        if number in fields:
            return build(node_id, _fields(_bytes(fields[number][0])))
    return Const(node_id, "null", None)


def _child(fields: _Fields, number: int) -> Node:
    return _node(_bytes(fields[number][0])) if number in fields else _NULL


def _read_const(node_id: int, fields: _Fields) -> Node:
    for number, (value, *_) in fields.items():
        match number:
            case 2:
                return Const(node_id, "bool", bool(value))
            case 3:
                assert isinstance(value, int)
                return Const(node_id, "int", value - (1 << 64) if value >> 63 else value)
            case 4:
                return Const(node_id, "uint", value)
            case 5:
                return Const(node_id, "double", struct.unpack("<d", _bytes(value))[0])
            case 6:
                return Const(node_id, "string", _bytes(value).decode())
            case 7:
                return Const(node_id, "bytes", value)
            case _:
                pass
    return Const(node_id, "null", None)


def _read_ident(node_id: int, fields: _Fields) -> Node:
    return Ident(node_id, _text(fields, 1))


def _read_select(node_id: int, fields: _Fields) -> Node:
    return Select(node_id, _child(fields, 1), _text(fields, 2), bool(_number(fields, 3)))


def _read_call(node_id: int, fields: _Fields) -> Node:
    args = tuple(_node(_bytes(arg)) for arg in fields.get(3, []))
    return Call(node_id, _text(fields, 2), args, _child(fields, 1) if 1 in fields else None)


def _read_list(node_id: int, fields: _Fields) -> Node:
    indices: list[int] = []
    for packed in fields.get(2, []):
        indices += _varints(packed) if isinstance(packed, bytes) else [packed]
    return ListLiteral(node_id, tuple(_node(_bytes(part)) for part in fields.get(1, [])), frozenset(indices))


def _read_map(node_id: int, fields: _Fields) -> Node:
    return MapLiteral(node_id, _text(fields, 1), tuple(_entry(_fields(_bytes(part))) for part in fields.get(2, [])))


def _entry(fields: _Fields) -> Entry:
    key = _child(fields, 3) if 3 in fields else None
    return Entry(_number(fields, 1), key, _text(fields, 2), _child(fields, 4), bool(_number(fields, 5)))


def _read_comprehension(node_id: int, fields: _Fields) -> Node:
    return Comprehension(
        node_id,
        variable=_text(fields, 1),
        second_variable=_text(fields, 8),
        range=_child(fields, 2),
        accumulator=_text(fields, 3),
        init=_child(fields, 4),
        condition=_child(fields, 5),
        step=_child(fields, 6),
        result=_child(fields, 7),
    )


_BUILDERS = {
    3: _read_const,
    4: _read_ident,
    5: _read_select,
    6: _read_call,
    7: _read_list,
    8: _read_map,
    9: _read_comprehension,
}


def _fields(data: bytes) -> dict[int, list[int | bytes]]:
    """Protobuf's wire format: the raw values of each field, in order."""
    found: dict[int, list[int | bytes]] = {}
    at, end = 0, len(data)
    while at < end:
        tag = data[at]  # one byte: no field here has a number above 15
        kind = tag & 7
        size = data[at + 1] if kind in (0, 2) else (8 if kind == 1 else 4)
        at += 2 if kind in (0, 2) else 1
        if kind in (0, 2) and size > 127:
            size, at = _varint(data, at - 1)
        if kind == 0:
            value: int | bytes = size
        else:
            value = data[at : at + size]
            at += size
        found.setdefault(tag >> 3, []).append(value)
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    result = shift = 0
    while (byte := data[at]) > 127:
        result |= (byte & 127) << shift
        shift += 7
        at += 1
    return result | byte << shift, at + 1


def _varints(data: bytes) -> list[int]:
    values: list[int] = []
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        values.append(value)
    return values


def _bytes(value: int | bytes) -> bytes:
    assert isinstance(value, bytes)
    return value


def _number(fields: _Fields, number: int) -> int:
    value = fields[number][0] if number in fields else 0
    assert isinstance(value, int)
    return value


def _text(fields: _Fields, number: int) -> str:
    return _bytes(fields[number][0]).decode() if number in fields else ""


# ---- writing


def _expr(node: Node) -> bytes:
    number, fields = _body(node)
    return _message((2, node.id), (number, _message(*fields)))


def _body(node: Node) -> tuple[int, list[tuple[int, int | bytes | float]]]:
    match node:
        case Const():
            return 3, [_const(node)]
        case Ident():
            return 4, [(1, node.name.encode())]
        case Select():
            return 5, [(1, _expr(node.operand)), (2, node.field.encode()), (3, int(node.test_only))]
        case Call():
            target = [] if node.target is None else [(1, _expr(node.target))]
            return 6, [*target, (2, node.function.encode()), *((3, _expr(arg)) for arg in node.args)]
        case ListLiteral():
            return 7, [*((1, _expr(part)) for part in node.elements), *((2, index) for index in sorted(node.optional))]
        case MapLiteral():
            return 8, [(1, node.message.encode()), *((2, _write_entry(entry)) for entry in node.entries)]
        case Comprehension():
            return 9, [
                (1, node.variable.encode()),
                (8, node.second_variable.encode()),
                (2, _expr(node.range)),
                (3, node.accumulator.encode()),
                (4, _expr(node.init)),
                (5, _expr(node.condition)),
                (6, _expr(node.step)),
                (7, _expr(node.result)),
            ]


def _write_entry(entry: Entry) -> bytes:
    key = (2, entry.field.encode()) if entry.key is None else (3, _expr(entry.key))
    return _message((1, entry.id), key, (4, _expr(entry.value)), (5, int(entry.optional)))


def _const(node: Const) -> tuple[int, int | bytes | float]:
    match node.value:
        case None:
            return 1, 0
        case bool():
            return 2, int(node.value)
        case int():
            return (4 if node.kind == "uint" else 3), node.value & (1 << 64) - 1
        case float():
            return 5, node.value
        case str():
            return 6, node.value.encode()
        case bytes():
            return 7, node.value


def _message(*fields: tuple[int, int | bytes | float]) -> bytes:
    out = bytearray()
    for number, value in fields:
        if isinstance(value, int):
            out += _write_varint(number << 3) + _write_varint(value)
        elif isinstance(value, float):
            out += _write_varint(number << 3 | 1) + struct.pack("<d", value)
        else:
            out += _write_varint(number << 3 | 2) + _write_varint(len(value)) + value
    return bytes(out)


def _write_varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
