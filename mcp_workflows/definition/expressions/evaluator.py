"""Turns a checked tree into what evaluates it.

A chain is walked, CEL evaluates what is all CEL's, and what is left is done here: calls of the functions in
``functions.py``, and whatever stands around them up to the root. Evaluating those calls inside of CEL would leak memory
and could crash (see ``functions.py``); here they get the very values, unconverted. The meaning is CEL's: ``&&`` and ``||``
absorb the failure of the other side, a conditional evaluates one arm, the first failure of a loop is the loop's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mcp_workflows.definition.expressions.chains import ChainReader
from mcp_workflows.definition.expressions.comparisons import COMPARISONS, comparison, may_compare
from mcp_workflows.definition.expressions.environments import ADDED
from mcp_workflows.definition.expressions.failures import ExpressionInvalid
from mcp_workflows.definition.expressions.functions import BOUNDED, size
from mcp_workflows.definition.expressions.guards import MAX_BUILT, Guard
from mcp_workflows.definition.expressions.island import Evaluate, Island
from mcp_workflows.definition.expressions.loop import Loop, appending, bind
from mcp_workflows.definition.expressions.optionals import Kind, in_comprehension, kind_of
from mcp_workflows.definition.expressions.parts import (
    both,
    call_of,
    choose,
    either,
    has_value,
    list_of,
    looked_up_once,
    map_of,
    negated,
    not_false,
    nothing,
    or_value,
    same,
    step_into,
    value_of,
)
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
    children,
)
from mcp_workflows.definition.expressions.variables import ROOTS
from mcp_workflows.definition.expressions.walk import walk_of

Json = Any

_SHORT = 16
_CHEAP_WITH_CONSTANT = frozenset({"join", "contains", "indexOf", "split", "lists.range"})
"""CEL's own does, where what comes after the receiver is a short constant."""
_STEPS = {"_[_]": False, "_[?_]": True, "_?._": True}


@dataclass(frozen=True, slots=True)
class _Around:
    """What surrounds a node: the loop variables, with what they may hold."""

    bound: Mapping[str, Kind]
    repeated: bool = False
    """Inside a loop that runs here, so once for each element."""


class Evaluator:
    """Builds what evaluates one expression. Raises ``ExpressionInvalid`` where an optional has no business."""

    def __init__(self, tree: Tree, reader: ChainReader, start: int) -> None:
        self._tree = tree
        self._reader = reader
        self._guard = Guard(tree)
        self._start = start

    def build(self) -> Evaluate:
        root = self._tree.root
        evaluate = self._build(root, _Around({}))
        names = [chain.name for chain in self._reader.all(root)]
        by_cel_alone = isinstance(evaluate, Island) and not self._is_ours(root)
        if by_cel_alone or len(set(names)) == len(names):
            return evaluate
        return looked_up_once(sorted(set(names)), evaluate)

    def _build(self, node: Node, around: _Around) -> Evaluate:
        chain = self._reader.of(node)
        walk = None if chain is None else walk_of(chain)
        if walk is not None:
            return walk
        if isinstance(node, Const) and node.kind not in ("uint", "bytes"):
            value = node.value
            return lambda _: value
        if not self._is_ours(node):
            return self._light(node, around) or self._island(node, around, {})
        match node:
            case Select():
                operand = self._build(node.operand, around)
                return step_into(operand, _constant(node.field), optional=False, tests=node.test_only)
            case ListLiteral():
                return list_of([self._build(part, around) for part in node.elements])
            case MapLiteral(message=""):
                return map_of([self._entry(entry, around) for entry in node.entries])
            case Comprehension():
                return self._comprehension(node, around)
            case Call(function=name) if name in COMPARISONS:
                return self._light(node, around) or self._with_holes(node, around)
            case Call():
                return self._call(node, around)
            case _:
                return self._island(node, around, {})

    def _light(self, node: Node, around: _Around) -> Evaluate | None:
        """What most conditions are, done here: ``input.plan == "pro"`` and the like, joined by ``&&``, ``||`` and ``!``."""
        match node:
            case Call(_, function, (operand, Const() as constant)) if function in COMPARISONS:
                return self._compared(function, operand, constant, around)
            case Call(_, function, (Const() as constant, operand)) if function in COMPARISONS:
                return self._compared(COMPARISONS[function], operand, constant, around)
            case Call(_, "_&&_" | "_||_", (first, second)):
                left, right = self._light(first, around), self._light(second, around)
                return None if left is None or right is None else _FORMS[node.function](left, right)
            case Call(_, "!_", (operand,)):
                inner = self._light(operand, around)
                return None if inner is None else negated(inner)
            case Select() | Ident():
                chain = self._reader.of(node)
                return None if chain is None or kind_of(node, around.bound) is not Kind.PLAIN else walk_of(chain)
            case _:
                return None

    def _compared(self, function: str, operand: Node, constant: Const, around: _Around) -> Evaluate | None:
        if kind_of(operand, around.bound) is not Kind.PLAIN or not may_compare(function, constant):
            return None
        chain = self._reader.of(operand)
        if chain is None and not self._is_ours(operand):
            return None
        found = self._build(operand, around) if chain is None else walk_of(chain)
        return None if found is None else comparison(function, found, constant.value)

    def _entry(self, entry: Entry, around: _Around) -> tuple[Evaluate, Evaluate]:
        assert entry.key is not None  # only messages have fields instead
        self._needs_plain(entry.key, around)
        return self._build(entry.key, around), self._build(entry.value, around)

    def _call(self, node: Call, around: _Around) -> Evaluate:
        operands = node.operands
        if (function := self._function(node)) is not None:
            for operand in operands:
                self._needs_plain(operand, around)
            return call_of(function, [self._build(operand, around) for operand in operands])
        if node.function in _STEPS:
            self._needs_plain(operands[1], around)
            operand, key = (self._build(part, around) for part in operands)
            return step_into(operand, key, optional=_STEPS[node.function])
        if node.function in _FORMS:
            return _FORMS[node.function](*(self._build(operand, around) for operand in operands))
        return self._with_holes(node, around)

    def _with_holes(self, node: Call, around: _Around) -> Evaluate:
        """One of CEL's own functions, some of whose operands are evaluated here."""
        holes: dict[str, Evaluate] = {}

        def holed(operand: Node) -> Node:
            if not self._is_ours(operand):
                return operand
            self._needs_plain(operand, around)
            name = f"@hole{len(holes)}"
            holes[name] = self._build(operand, around)
            return Ident(operand.id, name)

        target = None if node.target is None else holed(node.target)
        return self._island(Call(node.id, node.function, tuple(map(holed, node.args)), target), around, holes)

    def _island(self, node: Node, around: _Around, holes: Mapping[str, Evaluate]) -> Evaluate:
        chains = [chain for chain in self._reader.all(node) if chain.root not in holes]
        return Island(
            self._guard.guarded(node),
            chains,
            holes=holes,
            optional=kind_of(node, around.bound) is Kind.OPTIONAL,
            repeated=around.repeated,
            local=frozenset(around.bound),
        )

    def _comprehension(self, node: Comprehension, around: _Around) -> Evaluate:
        inner = in_comprehension(node, around.bound)
        init = self._build(node.init, around)
        if isinstance(node.range, ListLiteral) and not node.range.elements:
            return bind(node.accumulator, init, self._build(node.result, _Around(inner, around.repeated)))
        self._needs_plain(node.range, around)
        repeated = _Around(inner, repeated=True)
        return Loop(
            variable=node.variable,
            second_variable=node.second_variable,
            accumulator=node.accumulator,
            range=self._build(node.range, around),
            init=init,
            condition=self._condition(node.condition, repeated),
            step=self._step(node.step, node.accumulator, repeated),
            result=self._build(node.result, _Around(inner, around.repeated)),
        )

    def _condition(self, node: Node, around: _Around) -> Evaluate:
        match node:
            case Call(_, "@not_strictly_false", (operand,)):
                return not_false(self._build(operand, around))
            case _:
                return self._build(node, around)

    def _step(self, node: Node, accumulator: str, around: _Around) -> Evaluate:
        """The new accumulator. A list grows in place: CEL, given one to add to, would convert all of it each time."""
        match node:
            case Call(_, "_+_", (Ident(name=name), ListLiteral() as more)) if name == accumulator:
                return appending(accumulator, self._build(more, around), limit=MAX_BUILT)
            case Call(_, "_&&_" | "_||_", (left, right)):
                return (both if node.function == "_&&_" else either)(
                    self._build(left, around), self._build(right, around)
                )
            case Call(_, "_?_:_", (condition, then, otherwise)):
                arms = (self._step(arm, accumulator, around) for arm in (then, otherwise))
                return choose(self._build(condition, around), *arms)
            case _:
                return self._build(node, around)

    def _needs_plain(self, node: Node, around: _Around) -> None:
        if kind_of(node, around.bound) is not Kind.PLAIN:
            at = self._start + self._tree.offsets.get(node.id, 0)
            raise ExpressionInvalid("an optional cannot stand here: end it with .orValue(…)", at, self._start)

    def _is_ours(self, node: Node) -> bool:
        """Whether something in ``node`` must not be left to CEL."""
        if isinstance(node, Call) and self._function(node) is not None:
            return True
        if isinstance(node, Comprehension) and node.second_variable and self._tree.type_of(node.range) != "list":
            return True  # perhaps over a map, which CEL goes through in no order
        return any(self._is_ours(child) for child in children(node))

    def _function(self, node: Call) -> Callable[..., Json] | None:
        """The function to be called here, if the node is a call of one."""
        name = node.function
        if name == "format" and not self._formats_instant(node):
            return None
        if name == "size" and self._is_from_outside(node.operands[0]):
            return size
        if name in ADDED:
            return ADDED[name].run
        if name in _CHEAP_WITH_CONSTANT and (not node.args or _is_short(node.args[0])):
            return None
        return BOUNDED.get(name)

    def _is_from_outside(self, node: Node) -> bool:
        """Whether CEL would be given a value for nothing but its size. In a loop over it, that is done once."""
        chain = self._reader.of(node)
        return chain is not None and chain.root in ROOTS and walk_of(chain) is not None

    def _formats_instant(self, node: Call) -> bool:
        """``t.format("%d.%m.", …)``, which shares its name with CEL's ``"%s".format([…])``."""
        types = [self._tree.type_of(operand) for operand in node.operands]
        return len(types) == 3 or types[0] == "timestamp" or types[-1] == "string"


_FORMS: Mapping[str, Callable[..., Evaluate]] = {
    "_&&_": both,
    "_||_": either,
    "!_": negated,
    "_?_:_": choose,
    "orValue": or_value,
    "or": or_value,
    "optional.of": same,
    "optional.none": nothing,
    "dyn": same,
    "hasValue": has_value,
    "value": value_of,
}
"""What has a form of its own: not all of it is evaluated, or it takes an optional."""


def _constant(value: Json) -> Evaluate:
    return lambda _: value


def _is_short(node: Node) -> bool:
    match node:
        case Const(value=str() as text):
            return len(text) <= _SHORT
        case Const(value=int() as number):
            return number <= MAX_BUILT
        case _:
            return False
