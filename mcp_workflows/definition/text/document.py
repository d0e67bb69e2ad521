"""A definition's text as a tree with places: the one thing that all checks point into.

``read_document`` never stops at the first fault it can step over: duplicate keys are collected and the document is
still given, so that whatever else is wrong is reported together with them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TypeAlias

from mcp_workflows.definition.phrases import describe
from mcp_workflows.definition.text.json_reader import read_json
from mcp_workflows.definition.text.nodes import (
    MAX_CHARACTERS,
    Map,
    Node,
    Scalar,
    Seq,
    TextRefused,
    TreeBuilder,
    to_json,
)
from mcp_workflows.definition.text.places import SourceText
from mcp_workflows.definition.text.yaml_reader import read_yaml
from mcp_workflows.errors import DefinitionInvalid, Problem

Path: TypeAlias = tuple[str | int, ...]
"""From the root to a node: keys of mappings and positions in lists."""


@dataclass(slots=True)
class Document:
    """A text that was read. ``problems`` is where everything that is wrong with it is collected."""

    file: str
    source: SourceText
    root: Map
    problems: list[Problem] = field(default_factory=list[Problem])

    def node(self, path: Path) -> Node | None:
        """The node at ``path``, or ``None``."""
        node: Node = self.root
        for part in path:
            if isinstance(node, Map) and str(part) in node.entries:
                node = node.entries[str(part)].value
            elif isinstance(node, Seq) and isinstance(part, int) and part < len(node.items):
                node = node.items[part]
            else:
                return None
        return node

    def key(self, path: Path) -> Scalar | None:
        """The key that ``path`` ends in, or ``None``."""
        parent = self.node(path[:-1]) if path else None
        if isinstance(parent, Map) and str(path[-1]) in parent.entries:
            return parent.entries[str(path[-1])].key
        return None

    def nearest(self, path: Path) -> Node:
        """The node at ``path``, or at the longest part of it that exists."""
        for length in range(len(path), 0, -1):
            node = self.node(path[:length])
            if node is not None:
                return node
        return self.root

    def value(self, path: Path) -> object:
        """What stands at ``path``, as JSON; ``None`` where nothing does."""
        node = self.node(path)
        return None if node is None else to_json(node)

    @property
    def has_lines(self) -> bool:
        """Whether lines say anything: a stored definition is all on one."""
        return "\n" in self.source.text.strip()

    def line(self, node: Node) -> int:
        return self.source.place(node.start)[0]

    def problem(self, node: Node, code: str, message: str, offset: int | None = None) -> Problem:
        """A problem at ``node``; with ``offset``, at that character of a scalar's value."""
        index = node.start
        if offset is not None and isinstance(node, Scalar):
            index = self.source.index_in(node, offset)
        return self._at(index, code, message)

    def refuse(self, node: Node, code: str, message: str, offset: int | None = None) -> None:
        """Adds a problem, once."""
        problem = self.problem(node, code, message, offset)
        if problem not in self.problems:
            self.problems.append(problem)

    def _at(self, index: int, code: str, message: str) -> Problem:
        line, column = self.source.place(index)
        return Problem(self.file, line, column, code, message)


def decode(data: bytes, file: str) -> str:
    """UTF-8, with or without a byte order mark. Raises ``DefinitionInvalid`` with the place of the first wrong byte."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", "replace")
        line = before.count("\n") + 1
        column = len(before) - (before.rfind("\n") + 1) + 1
        message = f"the byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise DefinitionInvalid([Problem(file, line, column, "encoding", message)]) from None


WORKFLOW = "a workflow is a mapping with name, steps and so on"


def read_document(text: str, file: str, *, what: str = WORKFLOW) -> Document:
    """Reads YAML, or JSON where the name or the text says so. ``what`` is what it should hold.

    Raises ``DefinitionInvalid`` where the text cannot be read.
    """
    source = SourceText(re.sub(r"\r\n?", "\n", text.removeprefix("\ufeff")))
    try:
        builder = _read(source.text, _format(file))
    except TextRefused as refused:
        line, column = source.place(refused.index)
        problem = Problem(file, line, column, _format(file), refused.message)
        raise DefinitionInvalid([problem]) from None
    return _document(builder, source, file, what)


def _format(file: str) -> str:
    return "json" if PurePath(file).suffix == ".json" else "yaml"


def _read(text: str, form: str) -> TreeBuilder:
    if len(text) > MAX_CHARACTERS:
        raise TextRefused(0, f"larger than 1 MiB ({len(text):,} characters)")
    if form == "json":
        return read_json(text)
    if text.lstrip()[:1] == "{":  # a stored definition, or a flow mapping
        try:
            return read_json(text)
        except TextRefused:
            return read_yaml(text)
    return read_yaml(text)


def _document(builder: TreeBuilder, source: SourceText, file: str, what: str) -> Document:
    root = builder.root
    if not isinstance(root, Map):
        value = None if root is None else to_json(root)
        found = "nothing" if value is None else describe(value)
        line, column = source.place(root.start if root is not None else 0)
        message = f"{what}; found {found}"
        raise DefinitionInvalid([Problem(file, line, column, _format(file), message)])
    document = Document(file, source, root)
    for duplicate in builder.duplicates:
        first = document.line(duplicate.first)
        document.refuse(duplicate.key, "duplicate_key", f'"{duplicate.key.value}" is already set at line {first}')
    return document
