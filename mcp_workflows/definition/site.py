"""Compiling the texts of a definition where they stand: errors get their place, and what was read is remembered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from mcp_workflows.definition.expressions import (
    ROOTS,
    RUN,
    Expression,
    ExpressionInvalid,
    Template,
    Variables,
    compile_condition,
    compile_text,
)
from mcp_workflows.definition.scope import Scope
from mcp_workflows.definition.text.document import Document, Path
from mcp_workflows.definition.text.nodes import Map, Node, Scalar, Seq

_Compiled = TypeVar("_Compiled", Expression, Template)
_ALL = Variables(ROOTS | RUN)
"""Every root but items: whether one may be named at a place is for ``Scope`` to say, in better words than "unknown"."""
MAX_SHAPE = 64
"""Levels of nesting of one value: what is rendered from it has to be recorded."""
EMPTY = Template.of(None)
"""Stands for what could not be compiled; the definition is refused anyway."""


@dataclass(slots=True)
class Reads:
    """What a file's expressions read."""

    vars: set[str] = field(default_factory=set[str])
    secrets: set[str] = field(default_factory=set[str])
    outputs: set[str] = field(default_factory=set[str])
    """Ids of steps of which anything is read."""
    needed: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict[str, dict[str, int]](dict))
    """By step, who reads its output without ``.?``, and at which line first."""
    everything: set[str] = field(default_factory=set[str])
    """Roots that are read as a whole, such as ``vars``."""
    unsure: list[tuple[Scalar, int, str]] = field(default_factory=list[tuple[Scalar, int, str]])
    """Arguments that are read as if they were always given: where, and which."""
    children: list[tuple[Path, str]] = field(default_factory=list[tuple[Path, str]])
    """Workflows that steps start: the mapping that says so, and the workflow's name."""
    signals: dict[str, tuple[int, str | None]] = field(default_factory=dict[str, tuple[int, str | None]])
    """Signals that steps wait for: the line of the first such step, and its schema as JSON."""
    approvals: dict[str, int] = field(default_factory=dict[str, int])
    """Ids of steps that ask for a decision, and their lines."""


@dataclass(frozen=True, slots=True)
class Site:
    """A part of a document to be compiled, what may be named there, and who reads it."""

    document: Document
    path: Path
    scope: Scope
    reads: Reads
    reader: str
    """In words, for whoever asks why a step is needed."""

    def under(self, *parts: str | int) -> Site:
        return Site(self.document, (*self.path, *parts), self.scope, self.reads, self.reader)

    def at(self, place: str, *roots: str, secrets: bool = False) -> Site:
        return self.within(self.scope.at(place, *roots, secrets=secrets))

    def within(self, scope: Scope) -> Site:
        return Site(self.document, self.path, scope, self.reads, self.reader)

    @property
    def node(self) -> Node:
        return self.document.nearest(self.path)

    def has(self, key: str) -> bool:
        """Whether ``key`` stands here, whatever it says."""
        return isinstance(self.node, Map) and key in self.node.entries

    def refuse(self, code: str, message: str, *, key: str | None = None) -> None:
        """Reports a problem here, or at the key ``key`` in here."""
        node = self.document.key((*self.path, key)) if key is not None else None
        self.document.refuse(node or self.document.key(self.path) or self.node, code, message)

    def text(self, *parts: str | int) -> Template:
        """The text here as a template."""
        return self.shape(*parts)

    def shape(self, *parts: str | int, ordered: bool = True, needs_value: bool = False) -> Template:
        """What stands here as a template, whatever its shape.

        Without ``ordered``, the keys are sorted: what goes over the wire must be the same to the byte after a restart,
        when the definition comes from its stored content. ``needs_value``: an optional at the top is an error.
        """
        node = self.under(*parts).node
        if node.height > MAX_SHAPE:
            self.document.refuse(node, "value", f"nested deeper than {MAX_SHAPE} levels")
            return EMPTY
        template = self._shape(node, ordered)
        if (
            needs_value
            and isinstance(node, Scalar)
            and len(template.expressions) == 1
            and template.expressions[0].optional
        ):
            message = f'"{self.scope.place}" needs a value and this may have none: add .orValue(…)'
            self.document.refuse(node, "expr", message, template.expressions[0].start)
        return template

    def condition(self, *parts: str | int) -> Expression | None:
        """The expression here, which must give true or false; ``None`` if it does not compile."""
        node = self.under(*parts).node
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            return None
        try:
            expression = self._compiled(partial(compile_condition, node.value, place=self.scope.place))
        except ExpressionInvalid as invalid:
            self.document.refuse(node, invalid.code, invalid.message, invalid.offset)
            return None
        self._check([expression], node)
        found = self.scope.type_of(expression)
        if found not in (None, "bool"):
            message = f'found {found}, expected bool, in "{self.scope.place}"'
            self.document.refuse(node, "expr", message, expression.start)
        return expression

    def joined(self, before: str, node: Scalar) -> Template:
        """The scalar's text after another that was checked in its own place."""
        try:
            return self._compiled(partial(compile_text, f"{before}{node.value}"))
        except ExpressionInvalid:
            return EMPTY  # reported where each part was checked

    def _compiled(self, compiling: Callable[[Variables], _Compiled]) -> _Compiled:
        """Compiles with the items that are known here; where that fails, with all, so that ``Scope`` can say where they are."""
        here = _ALL.with_roots(self.scope.items)
        try:
            return compiling(here)
        except ExpressionInvalid as invalid:
            if invalid.unknown is not None and (meant := self.scope.names.meant_by(invalid.unknown)):
                message = f'unknown name "{invalid.unknown}"; write {meant}'
                raise ExpressionInvalid(message, invalid.offset, invalid.start) from None
            elsewhere = _ALL.with_roots(self.scope.names.items)
            if elsewhere.items <= here.items:
                raise
            try:
                found = compiling(elsewhere)
            except ExpressionInvalid:
                raise invalid from None
            if {name.split(".", maxsplit=1)[0] for name in found.names} <= here.roots:
                raise
            return found

    def _shape(self, node: Node, ordered: bool) -> Template:
        match node:
            case Map():
                keys = list(node.entries) if ordered else sorted(node.entries)
                return Template.of({key: self._shape(node.entries[key].value, ordered) for key in keys})
            case Seq():
                return Template.of([self._shape(item, ordered) for item in node.items])
            case Scalar():
                return self._leaf(node)

    def _leaf(self, node: Scalar) -> Template:
        if not isinstance(node.value, str):
            return Template.of(node.value)
        try:
            template = self._compiled(partial(compile_text, node.value))
        except ExpressionInvalid as invalid:
            self.document.refuse(node, invalid.code, invalid.message, invalid.offset)
            return EMPTY
        self._check(template.expressions, node)
        return template

    def _check(self, expressions: Iterable[Expression], node: Scalar) -> None:
        for expression in expressions:
            asked = given_by(expression)
            for reference in expression.references:
                name = self.scope.may_lack_input(reference)
                if name is not None and name not in asked:
                    self.reads.unsure.append((node, expression.start + reference.offsets[1], name))
                for fault in self.scope.faults(reference):
                    self.document.refuse(node, fault.code, fault.message, expression.start + fault.offset)
                self._remember(reference.path, reference.optional, node)

    def _remember(self, path: tuple[str | int, ...], optional: tuple[bool, ...], node: Scalar) -> None:
        root = str(path[0])
        if len(path) < 2:
            self.reads.everything.add(root)
            return
        name = str(path[1])
        match root:
            case "vars":
                self.reads.vars.add(name)
            case "secrets":
                self.reads.secrets.add(name)
            case "steps":
                self.reads.outputs.add(name)
                if len(path) > 2 and path[2] in ("output", "errors") and not optional[2] and name != self.scope.undoing:
                    self.reads.needed[name].setdefault(self.reader, self.document.line(node))
            case _:
                pass


def given_by(expression: Expression) -> frozenset[str]:
    """Arguments that the expression asks for before it reads them: ``has(input.x)``, ``input.?x``."""
    return frozenset(
        str(reference.path[1])
        for reference in expression.references
        if reference.path[0] == "input" and len(reference.path) > 1 and reference.optional[1]
    )
