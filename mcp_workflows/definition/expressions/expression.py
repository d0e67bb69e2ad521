"""One expression: compiled and checked when a definition is loaded, evaluated as often as runs ask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mcp_workflows.definition.expressions import wire
from mcp_workflows.definition.expressions.chains import TYPE_NAMES, Chain, ChainReader
from mcp_workflows.definition.expressions.environments import checker
from mcp_workflows.definition.expressions.evaluator import Evaluator
from mcp_workflows.definition.expressions.failures import ExpressionFailed, ExpressionInvalid
from mcp_workflows.definition.expressions.island import Evaluate
from mcp_workflows.definition.expressions.messages import refusal
from mcp_workflows.definition.expressions.optionals import Kind, kind_of
from mcp_workflows.definition.expressions.text import Inset, split
from mcp_workflows.definition.expressions.tree import Call, Comprehension, Node, Tree, children
from mcp_workflows.definition.expressions.values import ABSENT, kind_name
from mcp_workflows.definition.expressions.variables import ROOTS, Reference, Variables

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
    _evaluate: Evaluate = field(repr=False)

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
            return self._evaluate(values)
        except (ValueError, OverflowError) as failure:
            raise ExpressionFailed(str(failure), self.source) from None
        except RecursionError:
            raise ExpressionFailed("a value is nested too deeply", self.source) from None


def compile_expression(source: str, variables: Variables, *, start: int = 0) -> Expression:
    """Compile one bare expression. Raises ``ExpressionInvalid``, whose offsets count from ``start``."""
    if not source.strip():
        raise ExpressionInvalid("the expression is empty", start, start)
    try:
        program = checker(variables.items).compile(source)
        tree = wire.read(program.serialize())
        result_type, optional_type = _named(program.return_type().name())
    except RuntimeError as error:
        raise refusal(str(error), source, start, variables.items) from None
    except TypeError:
        raise ExpressionInvalid("the expression is no valid Unicode", start, start) from None
    reader = ChainReader(tree, source, variables.items)
    chains = reader.all(tree.root)
    kind = kind_of(tree.root, {})
    _refuse_in_tree(tree, variables, start)
    _refuse_in_chains(chains, variables, start)
    evaluate = Evaluator(tree, reader, start).build()
    if kind is Kind.MIXED:
        message = 'the value may hold an optional: write {?"key": …} or [?…], or end it with .orValue(…)'
        raise ExpressionInvalid(message, start, start)
    return Expression(
        source=source,
        names=frozenset(chain.name for chain in chains),
        references=tuple(chain.reference for chain in chains),
        result_type=result_type,
        optional=optional_type or kind is Kind.OPTIONAL,
        start=start,
        _evaluate=evaluate,
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


def _refuse_in_tree(tree: Tree, variables: Variables, start: int) -> None:
    for node in _all(tree.root):
        at = start + tree.offsets.get(node.id, 0)
        if isinstance(node, Call) and node.function == "cel.@mapInsert":
            raise ExpressionInvalid("transformMap is not available; use [[k, v]].to_map()", at, start)
        if isinstance(node, Comprehension):
            taken = {node.variable, node.second_variable, node.accumulator} & (ROOTS | variables.items | TYPE_NAMES)
            if taken:
                message = f'"{min(taken)}" already means something; give the variable another name'
                raise ExpressionInvalid(message, at, start)


def _all(node: Node) -> Iterator[Node]:
    yield node
    for child in children(node):
        yield from _all(child)


def _refuse_in_chains(chains: Sequence[Chain], variables: Variables, start: int) -> None:
    for chain in chains:
        if chain.root.split(".")[0] not in variables.roots and chain.root not in variables.roots:
            known = ", ".join(sorted({root.split(".")[0] for root in variables.roots}))
            raise ExpressionInvalid(f'unknown name "{chain.root}". Here there are {known}', start + chain.offset, start)
        if chain.root == "steps" and not (chain.parts and isinstance(chain.parts[0].key, str)):
            raise ExpressionInvalid("name one step: steps.<id>.output", start + chain.offset, start)
