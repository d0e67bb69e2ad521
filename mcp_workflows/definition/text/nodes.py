"""The tree of a definition's text: every key and value with where it stands, anchors resolved, sizes bounded.

Both readers (YAML and JSON) feed a ``TreeBuilder`` with what they meet, in order. An alias shares its anchor's node, so
a "billion laughs" costs nothing to build; ``weight`` and ``height`` say what it would cost expanded, and are bounded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

MAX_CHARACTERS = 1 << 20
"""Of a definition's text, as written and with its aliases resolved."""
MAX_DEPTH = 192
"""Levels of mappings and lists: steps in steps take up to five for each list, and the values in them have room left."""
MAX_MERGED = 100_000
"""Keys that all ``<<`` of a file may bring in: unlike an alias, a merge copies."""
MERGE_KEY = "<<"


class TextRefused(Exception):
    """The text cannot be read on from ``index`` (characters from its start)."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index
        self.message = message


@dataclass(slots=True, eq=False)
class Scalar:
    """A value without parts. ``style`` is how it is written: ``' " | >`` or ``None`` for plain."""

    value: str | int | float | bool | None
    start: int
    end: int
    style: str | None = None
    weight: int = 1
    height: int = 0


class Entry(NamedTuple):
    """A key of a mapping and its value."""

    key: Scalar
    value: Node


@dataclass(slots=True, eq=False)
class Map:
    """A mapping; its keys are texts. ``entries`` keeps the order of the file, merged keys last."""

    start: int
    end: int
    entries: dict[str, Entry] = field(default_factory=dict[str, Entry])
    weight: int = 2
    height: int = 1


@dataclass(slots=True, eq=False)
class Seq:
    """A list."""

    start: int
    end: int
    items: list[Node] = field(default_factory=list["Node"])
    weight: int = 2
    height: int = 1


Node: TypeAlias = Scalar | Map | Seq


def to_json(node: Node) -> object:
    """What the node says, without places. Shared nodes are copied; the builder has bounded how much that can be."""
    match node:
        case Scalar():
            return node.value
        case Seq():
            return [to_json(item) for item in node.items]
        case Map():
            return {key: to_json(entry.value) for key, entry in node.entries.items()}


@dataclass(slots=True)
class _Open:
    """A mapping or list whose end has not been met. ``key`` waits for its value; ``merges`` are resolved at the end."""

    node: Map | Seq
    anchor: str | None
    key: Scalar | None = None
    merges: list[tuple[Scalar, Node]] = field(default_factory=list[tuple[Scalar, "Node"]])


@dataclass(slots=True)
class Duplicate:
    """A key that was set before in the same mapping."""

    key: Scalar
    first: Scalar


class TreeBuilder:
    """Builds the tree from what a reader meets. Raises ``TextRefused``; duplicate keys are collected, the first one stands."""

    def __init__(self, *, merge_keys: bool) -> None:
        self._merge_keys = merge_keys
        self._open: list[_Open] = []
        self._anchors: dict[str, Node | None] = {}
        self.root: Node | None = None
        self.duplicates: list[Duplicate] = []
        self._merged = 0

    def open(self, node: Map | Seq, anchor: str | None = None) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise TextRefused(node.start, f"nested deeper than {MAX_DEPTH} levels")
        self._refuse_as_key(node.start)
        if anchor is not None:
            self._anchors[anchor] = None
        self._open.append(_Open(node, anchor))

    def close(self, end: int) -> None:
        opened = self._open.pop()
        node = opened.node
        node.end = end
        if isinstance(node, Map):
            for key, source in opened.merges:
                self._merge(node, key, source)
        _measure(node)
        self._settle(node, opened.anchor)

    def scalar(self, node: Scalar, text: str, anchor: str | None = None) -> None:
        """Takes a scalar; ``text`` is what it says as a key, where every scalar is a text."""
        top = self._open[-1] if self._open else None
        if top is not None and isinstance(top.node, Map) and top.key is None:
            if not (self._merge_keys and text == MERGE_KEY and node.style is None):
                node.value = text
            top.key = node
            if anchor is not None:
                self._anchors[anchor] = node
            return
        node.weight = len(text) + 1
        self._settle(node, anchor)

    def alias(self, name: str, start: int) -> None:
        if name not in self._anchors:
            raise TextRefused(start, f'there is no anchor "&{name}" before this alias')
        node = self._anchors[name]
        if node is None:
            raise TextRefused(start, f'"*{name}" stands inside what it names')
        if isinstance(node, Scalar):
            text = str(node.value)
            self.scalar(Scalar(node.value, node.start, node.end, node.style), text)
            return
        self._refuse_as_key(start)
        self._put(node, start)

    def _refuse_as_key(self, start: int) -> None:
        top = self._open[-1] if self._open else None
        if top is not None and isinstance(top.node, Map) and top.key is None:
            raise TextRefused(start, "a key is a text, not a mapping or a list")

    def _settle(self, node: Node, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        self._put(node, node.start)

    def _put(self, node: Node, start: int) -> None:
        if node.weight > MAX_CHARACTERS:
            raise TextRefused(start, "larger than 1 MiB with its aliases resolved")
        if len(self._open) + node.height > MAX_DEPTH:
            raise TextRefused(start, f"nested deeper than {MAX_DEPTH} levels")
        if not self._open:
            self.root = node
            return
        top = self._open[-1]
        if isinstance(top.node, Seq):
            top.node.items.append(node)
            return
        key, top.key = top.key, None
        assert key is not None, "a mapping's value comes after its key"
        self._put_entry(top, top.node, key, node)

    def _put_entry(self, top: _Open, mapping: Map, key: Scalar, node: Node) -> None:
        text = str(key.value)
        if self._merge_keys and text == MERGE_KEY and key.style is None:
            top.merges.append((key, node))
        elif text in mapping.entries:
            self.duplicates.append(Duplicate(key, mapping.entries[text].key))
        else:
            mapping.entries[text] = Entry(key, node)

    def _merge(self, into: Map, key: Scalar, source: Node) -> None:
        """``<<``: keys of its own win, then those of earlier mappings of a list."""
        sources = source.items if isinstance(source, Seq) else [source]
        for mapping in sources:
            if not isinstance(mapping, Map):
                raise TextRefused(key.start, '"<<" takes a mapping or a list of mappings')
            self._merged += len(mapping.entries)
            if self._merged > MAX_MERGED:
                raise TextRefused(key.start, f'all "<<" of a file together bring in more than {MAX_MERGED:,} keys')
            for name, entry in mapping.entries.items():
                into.entries.setdefault(name, entry)


def _measure(node: Map | Seq) -> None:
    values = node.items if isinstance(node, Seq) else [entry.value for entry in node.entries.values()]
    names = 0 if isinstance(node, Seq) else sum(len(name) + 3 for name in node.entries)
    node.weight = 2 + names + sum(value.weight for value in values)
    node.height = 1 + max((value.height for value in values), default=0)
