"""Arguments that clients repeat in headers of their requests, ``x-mcp-header``, so that what stands between can route by them.

A client leaves a tool out of its list, without a word, for one such name that is wrong. So the loader refuses it, by the rules
of MCP 2026-07-28, streamable HTTP: a property that is reached by ``properties`` alone, of a type that is written in one way
only, under a name that is a header's and nobody else's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from mcp_workflows.definition.text.document import Document
from mcp_workflows.definition.text.nodes import Entry, Map, Node, Seq, to_json

MIRRORED: Final = "x-mcp-header"
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TYPES: Final = ("string", "integer", "boolean")
_ELSEWHERE: Final = frozenset(
    {
        *("items", "contains", "unevaluatedItems", "additionalProperties", "propertyNames", "unevaluatedProperties"),
        *("not", "if", "then", "else", "contentSchema", "allOf", "anyOf", "oneOf", "prefixItems"),
        *("patternProperties", "dependentSchemas", "$defs", "definitions"),
    }
)
"""Words whose values are, or hold, schemas that are no property of the arguments for sure."""
_SO: Final = "(clients would leave the tool out)"
_MAPS: Final = frozenset({"patternProperties", "dependentSchemas", "$defs", "definitions"})


def check_mirrored(document: Document, schema: Map) -> None:
    """Reports every ``x-mcp-header`` of the arguments' schema for which a client would drop the tool."""
    seen: dict[str, tuple[str, int]] = {}
    for label, part in _positions(schema, "", known=True):
        entry = part.entries.get(MIRRORED)
        if entry is None:
            continue
        if misplaced := _misplaced(label) or _wrong_type(label, part):
            document.refuse(entry.key, "input", f"{misplaced} {_SO}")
        elif wrong := _wrong_name(label, entry) or _taken(document, label, entry, seen):
            document.refuse(entry.value, "input", f"{wrong} {_SO}")


def _positions(node: Node, label: str | None, *, known: bool) -> Iterator[tuple[str | None, Map]]:
    """Every schema there is, with the names that lead to it; ``None`` where it is no property for sure."""
    if not isinstance(node, Map):
        return
    yield label if known else None, node
    for word, entry in node.entries.items():
        if word == "properties" and isinstance(entry.value, Map):
            for name, inner in entry.value.entries.items():
                yield from _positions(inner.value, f"{label}.{name}" if label else name, known=known)
        elif word in _ELSEWHERE:
            yield from _elsewhere(word, entry.value)


def _elsewhere(word: str, value: Node) -> Iterator[tuple[str | None, Map]]:
    if isinstance(value, Seq):
        inner = value.items
    elif word in _MAPS and isinstance(value, Map):
        inner = [entry.value for entry in value.entries.values()]
    else:
        inner = [value]
    for one in inner:
        yield from _positions(one, None, known=False)


def _misplaced(label: str | None) -> str | None:
    if label:
        return None
    return f"{MIRRORED} stands on an argument: on a property that properties alone lead to, not on a part of a list or a choice"


def _wrong_name(label: str | None, entry: Entry) -> str | None:
    value = to_json(entry.value)
    if not isinstance(value, str):
        return f'"{label}": {MIRRORED} is the name of a header, a text such as Region'
    if not _TOKEN.fullmatch(value):
        return f'"{label}": {MIRRORED} "{value[:80]}" is no name of a header: write letters, digits and hyphens, such as Region'
    return None


def _taken(document: Document, label: str | None, entry: Entry, seen: dict[str, tuple[str, int]]) -> str | None:
    """``seen``: by the name as headers tell it apart, whose it is and where that stands."""
    name = str(to_json(entry.value))
    if name.lower() not in seen:
        seen[name.lower()] = (label or "", document.line(entry.key))
        return None
    other, line = seen[name.lower()]
    return (
        f'"{label}": {MIRRORED} "{name}" is that of "{other}" at line {line}, as headers know no case: choose another'
    )


def _wrong_type(label: str | None, schema: Map) -> str | None:
    kind = schema.entries.get("type")
    written = to_json(kind.value) if kind is not None else None
    if written in _TYPES:
        return None
    found = f"type {written}" if isinstance(written, str) else "no type" if written is None else "several types"
    return f'"{label}": {MIRRORED} needs type string, integer or boolean, found {found}'
