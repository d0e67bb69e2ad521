"""Makes a checked tree safe, and right, for the library to evaluate.

- Instants and durations are bound as text and parsed here: the library takes an instant only in a variable of its own.
- JSON does not tell 100 from 100.0, so ``+ - * /`` take ints and doubles mixed. That is spelled out with CEL's own means:
  an overload of ours would be a Python function, and what the library passes to those it never frees.
- ``map``, ``filter`` and ``transformList`` copy what they have built for each element (8,000 elements: 4 s and 1 GB, with the
  GIL held), so they stop at 2,000.
- Maps have another order in each process, so loops go through the sorted keys of a map.
- ``regex.replace`` is refused where its result could be out of proportion.
"""

from __future__ import annotations

from dataclasses import replace

from mcp_workflows.definition.expressions.tree import (
    Call,
    Comprehension,
    Const,
    Ident,
    ListLiteral,
    MapLiteral,
    Node,
    Select,
    Tree,
)

MAX_BUILT = 2_000
"""Elements that a macro may build in one list."""
_MAX_REPLACED = 1 << 24

LIST_TOO_LONG = "@list too long"
TEXT_TOO_LONG = "@text too long"
"""Keys that are looked up in an empty map, which is how a tree fails of its own accord."""

_ARITHMETIC = frozenset({"_+_", "_-_", "_*_", "_/_"})
_NUMBERS = frozenset({"int", "double", "dyn"})


class Guard:
    """Guards trees of one expression, whose types it knows."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def guarded(self, node: Node) -> Node:
        """The tree to evaluate instead of ``node``."""
        match node:
            case Ident() if (kind := self._tree.type_of(node)) in ("timestamp", "duration"):
                return Call(0, kind, (node,))
            case Select():
                return replace(node, operand=self.guarded(node.operand))
            case Call():
                args = tuple(map(self.guarded, node.args))
                target = None if node.target is None else self.guarded(node.target)
                return self._call(node, replace(node, args=args, target=target))
            case ListLiteral():
                return replace(node, elements=tuple(map(self.guarded, node.elements)))
            case MapLiteral():
                entries = (
                    replace(entry, key=entry.key and self.guarded(entry.key), value=self.guarded(entry.value))
                    for entry in node.entries
                )
                return replace(node, entries=tuple(entries))
            case Comprehension():
                return self._comprehension(node)
            case _:
                return node

    def _comprehension(self, node: Comprehension) -> Comprehension:
        condition = self.guarded(node.condition)
        if isinstance(node.init, ListLiteral) and not isinstance(node.step, Ident):
            size = Call(0, "size", (Ident(0, node.accumulator),))
            within = Call(0, "_<_", (size, Const(0, "int", MAX_BUILT)))
            condition = _if(within, condition, _failing(LIST_TOO_LONG))
        return replace(
            node,
            range=self._ordered(node.range),
            init=self.guarded(node.init),
            condition=condition,
            step=self.guarded(node.step),
            result=self.guarded(node.result),
        )

    def _ordered(self, node: Node) -> Node:
        """A loop's range; of a map its keys in order."""
        guarded = self.guarded(node)
        if isinstance(node, ListLiteral) or self._tree.type_of(node) == "list":
            return guarded
        elements, key, keys = Ident(0, "@elements"), Ident(0, "@key"), Ident(0, "@keys")
        more = Call(0, "_+_", (keys, ListLiteral(0, (key,))))
        listed = Comprehension(
            0, key.name, "", elements, keys.name, ListLiteral(0, ()), Const(0, "bool", True), more, keys
        )
        few = Call(0, "_<=_", (Call(0, "size", (elements,)), Const(0, "int", MAX_BUILT)))
        sort = _if(few, Call(0, "sort", (), listed), _failing(LIST_TOO_LONG))
        body = _if(_is(elements, "map"), sort, elements)
        return _let(elements.name, guarded, body)

    def _call(self, original: Call, node: Call) -> Node:
        if node.function == "regex.replace" and len(node.args) > 2:
            return _bounded_regex_replace(node)
        if node.function in _ARITHMETIC and len(node.args) == 2:
            left, right = (self._tree.type_of(arg) for arg in original.args)
            if {left, right} <= _NUMBERS and (left != right or left == "dyn"):
                return _mixed(node, left, right)
        return node


def _mixed(node: Call, left: str, right: str) -> Node:
    """``left op right`` where one may be an int and the other a double."""
    names = (_copyable(node.args[0]) or Ident(0, "@left")), (_copyable(node.args[1]) or Ident(0, "@right"))
    plain = replace(node, args=names)
    widen_left = replace(node, args=(_double(names[0]), names[1]))
    widen_right = replace(node, args=(names[0], _double(names[1])))
    match left, right:
        case "int", "double":
            return replace(node, args=(_double(node.args[0]), node.args[1]))
        case "double", "int":
            return replace(node, args=(node.args[0], _double(node.args[1])))
        case "dyn", "int":
            body = _if(_is(names[0], "double"), widen_right, plain)
        case "int", "dyn":
            body = _if(_is(names[1], "double"), widen_left, plain)
        case "dyn", "double":
            body = _if(_is(names[0], "int"), widen_left, plain)
        case "double", "dyn":
            body = _if(_is(names[1], "int"), widen_right, plain)
        case _:
            int_double = Call(0, "_&&_", (_is(names[0], "int"), _is(names[1], "double")))
            double_int = Call(0, "_&&_", (_is(names[0], "double"), _is(names[1], "int")))
            body = _if(int_double, widen_left, _if(double_int, widen_right, plain))
    for name, value in zip(reversed(names), reversed(node.args), strict=True):
        if isinstance(name, Ident) and name.name in ("@left", "@right"):
            body = _let(name.name, value, body)
    return body


def _copyable(node: Node) -> Node | None:
    """A node that may be evaluated several times at no cost to speak of."""
    inner = node
    while isinstance(inner, Select):
        inner = inner.operand
    return node if isinstance(inner, Const) or (isinstance(inner, Ident) and not inner.name.startswith("@")) else None


def _is(node: Node, kind: str) -> Call:
    return Call(0, "_==_", (Call(0, "type", (node,)), Ident(0, kind)))


def _double(node: Node) -> Node:
    match node:
        case Const(kind="int", value=int() as value):
            return Const(0, "double", float(value))
        case _:
            return Call(0, "double", (node,))


def _bounded_regex_replace(node: Call) -> Node:
    """As it stands where every character could become the replacement and the text still be bounded."""
    text, pattern, new, *rest = node.args
    names = Ident(0, "@text"), Ident(0, "@new")
    one = Const(0, "int", 1)
    sizes = tuple(Call(0, "_+_", (Call(0, "size", (name,)), one)) for name in names)
    within = Call(0, "_<=_", (Call(0, "_*_", sizes), Const(0, "int", _MAX_REPLACED)))
    body = _if(within, replace(node, args=(names[0], pattern, names[1], *rest)), _failing(TEXT_TOO_LONG))
    return _let(names[0].name, text, _let(names[1].name, new, body))


def _let(name: str, value: Node, body: Node) -> Node:
    """``cel.bind(name, value, body)``."""
    never = Const(0, "bool", False)
    return Comprehension(0, "#unused", "", ListLiteral(0, ()), name, value, never, Ident(0, name), body)


def _if(condition: Node, then: Node, otherwise: Node) -> Node:
    return Call(0, "_?_:_", (condition, then, otherwise))


def _failing(key: str) -> Node:
    return Call(0, "_[_]", (MapLiteral(0, "", ()), Const(0, "string", key)))
