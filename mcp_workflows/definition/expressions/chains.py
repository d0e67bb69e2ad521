"""Chains of names: what an expression reads, as far as it is constant (``steps.a.?output.items[0]``).

From them come the names to look up, the references for scope checks, and the narrowest part of each value that must be
converted for CEL. A comprehension's own variable is no name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mcp_workflows.definition.expressions.tree import Call, Comprehension, Const, Ident, Node, Select, Tree, children
from mcp_workflows.definition.expressions.variables import RUN, Reference

TYPE_NAMES = frozenset(
    {"bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"}
    | {"google.protobuf.Timestamp", "google.protobuf.Duration", "optional_type"}
)
"""Names of CEL's types, which are values of their own (``type(x) == int``)."""


@dataclass(frozen=True, slots=True)
class Part:
    """One step along a chain, and where it stands in the source."""

    key: str | int
    optional: bool
    """Written ``.?key`` or ``[?key]``: without the key there is no value, and no error."""
    tested: bool
    """Written ``has(….key)``: the value is whether the key is there."""
    assured: bool
    """Inside ``get``, which never fails."""
    offset: int


@dataclass(frozen=True, slots=True)
class Chain:
    """``root`` and what is read of it. ``looped``: it stands inside a loop over something else."""

    root: str
    offset: int
    parts: tuple[Part, ...]
    looped: bool = False

    @property
    def reference(self) -> Reference:
        parts = self.parts
        return Reference(
            (self.root, *(part.key for part in parts)),
            (False, *(part.optional or part.tested or part.assured for part in parts)),
            (self.offset, *(part.offset for part in parts)),
        )

    @property
    def name(self) -> str:
        """The root to look up: ``input``, ``run.now``, ``steps.account``."""
        return f"steps.{self.parts[0].key}" if self.root == "steps" and self.parts else self.root


class ChainReader:
    """Finds the chains of one tree."""

    def __init__(self, tree: Tree, source: str, items: frozenset[str]) -> None:
        self._offsets = tree.offsets
        self._source = source
        self._constants = TYPE_NAMES - items

    def all(self, node: Node, bound: frozenset[str] = frozenset()) -> list[Chain]:
        """Every chain in ``node`` at its longest, in the order of the source. ``bound``: comprehension variables."""
        if (chain := self.of(node, bound)) is not None:
            return [chain]
        match node:
            case Call(_, "get", (subject, Const(kind="string") as path, *rest), None) if chain := self.of(
                subject, bound
            ):
                found = [self._along_path(chain, str(path.value), self._offsets.get(path.id, 0) + 1)]
                return found + [chain for part in rest for chain in self.all(part, bound)]
            case Comprehension():
                inner = bound | {node.variable, node.second_variable, node.accumulator}
                found = self.all(node.range, bound) + self.all(node.init, bound)
                return found + [c for part in (node.condition, node.step, node.result) for c in self.all(part, inner)]
            case _:
                return [chain for child in children(node) for chain in self.all(child, bound)]

    def of(self, node: Node, bound: frozenset[str] = frozenset()) -> Chain | None:
        """``node`` as one chain, if it is nothing else."""
        match node:
            case Ident(_, name) if name not in bound and name not in self._constants:
                return Chain(name, self._root_offset(node), (), looped=bool(bound))
            case Select() if (inner := self.of(node.operand, bound)) and not _tests(inner):
                return _longer(inner, node.field, self._find(node.field, inner), tested=node.test_only)
            case Call(
                _, "_[_]" | "_[?_]" | "_?._", (operand, Const(kind="string" | "int", value=str() | int() as key)), None
            ):
                inner = self.of(operand, bound)
                if inner is None or _tests(inner):
                    return None
                return _longer(inner, key, self._find(str(key), inner), optional=node.function != "_[_]")
            case _:
                return None

    def _root_offset(self, node: Ident) -> int:
        at = self._offsets.get(node.id, 0)
        # Of a qualified name the library gives the place of its dot.
        return max(self._source.rfind("run", 0, at), 0) if node.name in RUN else at

    def _find(self, text: str, inner: Chain) -> int:
        """The place of the next part: the library gives that of the dot or the bracket, or none at all."""
        start, size = (
            (inner.parts[-1].offset, len(str(inner.parts[-1].key))) if inner.parts else (inner.offset, len(inner.root))
        )
        found = self._source.find(text, start + size)
        return found if found >= 0 else start

    @staticmethod
    def _along_path(chain: Chain, path: str, at: int) -> Chain:
        """``get`` reads ``path`` of its subject. A number may mean an index or a key, so the known part ends there."""
        for key in path.split("."):
            if not key or key.isdigit():
                break
            chain = _longer(chain, key, at, assured=True)
            at += len(key) + 1
        return chain


def _longer(
    chain: Chain, key: str | int, at: int, *, optional: bool = False, tested: bool = False, assured: bool = False
) -> Chain:
    return replace(chain, parts=(*chain.parts, Part(key, optional, tested, assured, at)))


def _tests(chain: Chain) -> bool:
    return bool(chain.parts) and chain.parts[-1].tested
