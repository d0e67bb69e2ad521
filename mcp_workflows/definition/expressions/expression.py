"""One compiled expression."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mcp_workflows.definition.expressions.failures import ExpressionFailed, ExpressionInvalid
from mcp_workflows.definition.expressions.library import Program, environment
from mcp_workflows.definition.expressions.text import Inset, split
from mcp_workflows.definition.expressions.tree import Call, Comprehension, Const, Group, Ident, Node, Select, Tree, read
from mcp_workflows.definition.expressions.values import Unusable, from_cel
from mcp_workflows.definition.expressions.variables import Reference, Variables


class Absent:
    """The type of ``ABSENT``."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = Absent()
"""What an optional expression gives when there is no value."""


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """A CEL expression, checked. Immutable; may be evaluated by several threads at once."""

    source: str
    names: frozenset[str]
    """The roots to be found in ``values``: ``input``, ``steps.account``, ``run.now`` …"""
    references: tuple[Reference, ...]
    result_type: str
    """``bool``, ``string``, ``int``, ``double``, ``timestamp``, ``duration``, ``list``, ``map``, ``null`` or ``dyn``; of an optional, what it holds."""
    optional: bool
    """It may have no value."""
    start: int
    """Where in the text it was found in ``source`` begins; 0 if it was compiled by itself."""
    _program: Program

    def evaluate(self, values: Mapping[str, Any]) -> Any:
        """The value as JSON. Raises ``ExpressionFailed``, also when an optional has no value."""
        result = self.evaluate_optional(values)
        if result is ABSENT:
            raise ExpressionFailed("there is no value", self.source)
        return result

    def evaluate_bool(self, values: Mapping[str, Any]) -> bool:
        """The value of a condition. Raises ``ExpressionFailed``, also when it is no bool."""
        result = self.evaluate(values)
        if not isinstance(result, bool):
            raise ExpressionFailed(f"expected true or false, found {result!r}", self.source)
        return result

    def evaluate_optional(self, values: Mapping[str, Any]) -> Any:
        """As ``evaluate``, but ``ABSENT`` when an optional has no value."""
        data: dict[str, Any] = {}
        for name in self.names:
            if name not in values:
                continue
            if name.startswith("steps."):
                data.setdefault("steps", {})[name[6:]] = values[name]
            else:
                data[name] = values[name]
        try:
            result = from_cel(self._program.eval(data=data))
        except (RuntimeError, TypeError, Unusable) as error:
            raise ExpressionFailed(str(error), self.source) from None
        if self.optional:
            return result[0] if result else ABSENT
        return result


def compile_expression(source: str, variables: Variables, *, start: int = 0) -> Expression:
    """Compile one bare expression. Raises ``ExpressionInvalid``; offsets there count from ``start``."""
    env = environment(variables.items)
    try:
        program = env.compile(source)
        kind = program.return_type().name().lower()
        optional = kind.startswith("optional_type")
        tree = read(program.serialize())
        if optional:
            program = env.compile(f"[?({source}\n)]")
    except RuntimeError as error:
        found = re.search(r"<input>:(\d+):(\d+): (.*)", str(error))
        lines = source.split("\n")
        offset = sum(len(line) + 1 for line in lines[: int(found[1]) - 1]) + int(found[2]) - 1 if found else 0
        raise ExpressionInvalid(found[3] if found else str(error), start + offset, start) from None
    references = tuple(_references(tree, source))
    names = frozenset(_root(reference) for reference in references)
    kind = re.sub(r"^optional_type<(.*)>$", r"\1", kind).split("<")[0]
    return Expression(source, names, references, kind, optional, start, program)


def compile_condition(text: str, variables: Variables, *, place: str = "when") -> Expression:
    """Compile a text that must be one ``${…}`` that gives a bool."""
    pieces = split(text.strip())
    if len(pieces) != 1 or not isinstance(pieces[0], Inset):
        raise ExpressionInvalid(
            f'{place} must be an expression that gives true or false, found the text "{text}". Write ${{{text}}}'
        )
    cut = len(text) - len(text.lstrip())
    return compile_expression(pieces[0].source, variables, start=pieces[0].start + cut)


def _root(reference: Reference) -> str:
    first = str(reference.path[0])
    return f"steps.{reference.path[1]}" if first == "steps" and len(reference.path) > 1 else first


def _references(tree: Tree, source: str) -> list[Reference]:
    found: list[Reference] = []

    def chain(node: Node, bound: frozenset[str]) -> Reference | None:
        at = tree.offsets.get(node.id, 0)
        match node:
            case Ident(_, name) if name not in bound:
                return Reference((name,), (False,), (at,))
            case Select(_, operand, field, test) if inner := chain(operand, bound):
                return _longer(inner, field, test, source.find(field, at))
            case Call(_, "_[_]" | "_[?_]" | "_?._" as call, (operand, Const(_, "string" | "int", key))) if inner := chain(operand, bound):
                assert isinstance(key, str | int)
                return _longer(inner, key, call != "_[_]", source.find(str(key), at))
            case _:
                return None

    def walk(node: Node, bound: frozenset[str]) -> None:
        if (reference := chain(node, bound)) is not None:
            found.append(reference)
            return
        match node:
            case Select(_, operand, _, _):
                walk(operand, bound)
            case Call(_, _, args, _):
                for arg in args:
                    walk(arg, bound)
            case Group(_, _, parts):
                for part in parts:
                    walk(part, bound)
            case Comprehension():
                walk(node.range, bound)
                walk(node.init, bound)
                for part in (node.condition, node.step):
                    walk(part, bound | node.variables | {node.accumulator})
                walk(node.result, bound | {node.accumulator})
            case _:
                pass

    walk(tree.root, frozenset())
    return found


def _longer(inner: Reference, key: str | int, optional: bool, at: int) -> Reference:
    return Reference((*inner.path, key), (*inner.optional, optional), (*inner.offsets, at))
