"""One expression: compiled and checked when a definition is loaded, evaluated as often as runs ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mcp_workflows.definition.expressions import wire
from mcp_workflows.definition.expressions.binding import Binding
from mcp_workflows.definition.expressions.chains import Chain, ChainReader
from mcp_workflows.definition.expressions.environments import checker, runner
from mcp_workflows.definition.expressions.failures import ExpressionFailed, ExpressionInvalid
from mcp_workflows.definition.expressions.guards import guarded, optionals_into_python
from mcp_workflows.definition.expressions.library import Program
from mcp_workflows.definition.expressions.messages import reason, refusal
from mcp_workflows.definition.expressions.optionals import Kind, kind_of
from mcp_workflows.definition.expressions.text import Inset, split
from mcp_workflows.definition.expressions.tree import Call, Node, Tree, children
from mcp_workflows.definition.expressions.values import ABSENT, Failure, Unusable, from_cel
from mcp_workflows.definition.expressions.variables import Reference, Variables
from mcp_workflows.definition.expressions.walk import Walk, kind_name, missing, walk_of

Json = Any


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """A CEL expression. Immutable; several threads may evaluate it at once."""

    source: str
    names: frozenset[str]
    """The roots to be found in ``values``: ``input``, ``steps.account``, ``run.now`` …"""
    references: tuple[Reference, ...]
    result_type: str
    """``bool string int double list map null timestamp duration`` or ``dyn``; of an optional, that of its value."""
    optional: bool
    """It may have no value, without that being an error in itself."""
    start: int
    """Where ``source`` begins in the text it was found in."""
    _chains: tuple[Chain, ...] = field(repr=False)
    _walk: Walk | None = field(repr=False)
    """The fast path, where there is one."""
    _program: Program = field(repr=False)
    _binding: Binding = field(repr=False)

    def evaluate(self, values: Mapping[str, Json]) -> Json:
        """The value as JSON, instants and durations as text. It may share structure with ``values``: do not change it.

        ``values`` may be lazy: each of ``names`` is looked up once, and a ``KeyError`` means that there is no value.
        Raises ``ExpressionFailed``, also when an optional has no value.
        """
        result = self.evaluate_optional(values)
        if result is ABSENT:
            raise ExpressionFailed("there is no value", self.source)
        return result

    def evaluate_bool(self, values: Mapping[str, Json]) -> bool:
        """The value of a condition. Raises ``ExpressionFailed``, also when it is no bool."""
        result = self.evaluate(values)
        if not isinstance(result, bool):
            raise ExpressionFailed(f"expected true or false, found {kind_name(result)}", self.source)
        return result

    def evaluate_optional(self, values: Mapping[str, Json]) -> Json:
        """As ``evaluate``, but ``ABSENT`` when an optional has no value."""
        try:
            return self._evaluate_in_cel(values) if self._walk is None else self._walk(values)
        except Unusable as unusable:
            raise ExpressionFailed(str(unusable), self.source) from None

    def _evaluate_in_cel(self, values: Mapping[str, Json]) -> Json:
        bound = self._binding.bind(values)
        try:
            result = from_cel(self._program.eval(data=bound))
        except (RuntimeError, Failure) as error:
            raise ExpressionFailed(self._why(str(error), values), self.source) from None
        if self.optional:
            return result[0] if result else ABSENT
        return result

    def _why(self, error: str, values: Mapping[str, Json]) -> str:
        """The failure in words; if something was not there, what."""
        if "Key not found" in error or "SELECT" in error or "Index error" in error or "No value with name" in error:
            for chain in self._chains:
                if said := missing(chain, values):
                    return said
        return reason(error)


def compile_expression(source: str, variables: Variables, *, start: int = 0) -> Expression:
    """Compile one bare expression. Raises ``ExpressionInvalid``, whose offsets count from ``start``."""
    if not source.strip():
        raise ExpressionInvalid("the expression is empty", start, start)
    try:
        program = checker(variables.items).compile(source)
        tree = wire.read(program.serialize())
    except RuntimeError as error:
        raise refusal(str(error), source, start) from None
    except TypeError:
        raise ExpressionInvalid("the expression is no valid Unicode", start, start) from None
    kind = kind_of(tree.root, {})
    _refuse_in_tree(tree, kind, start)
    reader = ChainReader(tree, source)
    chains = tuple(reader.all(tree.root))
    _refuse_in_chains(chains, variables, start)
    alone = reader.of(tree.root)
    result_type, optional_type = _named(program.return_type().name())
    optional = optional_type or kind is Kind.OPTIONAL
    return Expression(
        source=source,
        names=frozenset(chain.name for chain in chains),
        references=tuple(chain.reference for chain in chains),
        result_type=result_type,
        optional=optional,
        start=start,
        _chains=chains,
        _walk=None if alone is None else walk_of(alone),
        _program=runner().deserialize(wire.write(guarded(tree.root, optional=optional))),
        _binding=Binding(chains),
    )


def compile_condition(text: str, variables: Variables, *, place: str = "when") -> Expression:
    """Compile a text that must be one ``${…}`` that gives a bool. Raises ``ExpressionInvalid``."""
    cut = len(text) - len(text.lstrip())
    pieces = split(text)
    insets = [piece for piece in pieces if isinstance(piece, Inset)]
    if len(insets) != 1 or any(isinstance(piece, str) and piece.strip() for piece in pieces):
        said = text.strip()
        hint = f" Write ${{{said}}}" if not insets else " Write one ${…} around all of it"
        message = f'{place} must be an expression that gives true or false, found the text "{said}".{hint}'
        raise ExpressionInvalid(message, cut, cut)
    expression = compile_expression(insets[0].source, variables, start=insets[0].start)
    if expression.optional:
        message = f'found an optional, expected bool, in "{place}": end it with .orValue(false)'
        raise ExpressionInvalid(message, expression.start, expression.start)
    if expression.result_type not in ("bool", "dyn"):
        message = f'found {expression.result_type}, expected bool, in "{place}"'
        raise ExpressionInvalid(message, expression.start, expression.start)
    return expression


def _named(type_name: str) -> tuple[str, bool]:
    """CEL's name of a type in the language's, and whether it is an optional."""
    name = type_name.lower()
    optional = name.startswith("optional_type<")
    name = name.removeprefix("optional_type<").split("<")[0].rstrip(">")
    return name, optional


def _refuse_in_tree(tree: Tree, kind: Kind, start: int) -> None:
    if (node := _find(tree.root, "cel.@mapInsert")) is not None:
        at = start + tree.offsets.get(node.id, 0)
        raise ExpressionInvalid("transformMap is not available; use [[k, v]].to_map()", at, start)
    for call in optionals_into_python(tree.root):
        at = start + tree.offsets.get(call.id, 0)
        raise ExpressionInvalid(f"{call.function}() takes no optional: end it with .orValue(…)", at, start)
    if kind is Kind.MIXED:
        message = 'the value may hold an optional: write {?"key": …} or [?…], or end it with .orValue(…)'
        raise ExpressionInvalid(message, start, start)


def _find(node: Node, function: str) -> Call | None:
    if isinstance(node, Call) and node.function == function:
        return node
    return next((found for child in children(node) if (found := _find(child, function)) is not None), None)


def _refuse_in_chains(chains: tuple[Chain, ...], variables: Variables, start: int) -> None:
    for chain in chains:
        if chain.root.split(".")[0] not in variables.roots and chain.root not in variables.roots:
            known = ", ".join(sorted({root.split(".")[0] for root in variables.roots}))
            raise ExpressionInvalid(f'unknown name "{chain.root}". Here there are {known}', start + chain.offset, start)
        if chain.root == "steps" and not (chain.parts and isinstance(chain.parts[0].key, str)):
            raise ExpressionInvalid("name one step: steps.<id>.output", start + chain.offset, start)
