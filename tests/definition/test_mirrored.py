"""The loader refuses exactly those names of headers for which the official client leaves a tool out."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from mcp.shared.inbound import find_invalid_x_mcp_header

from mcp_workflows.definition.input_schema import published
from mcp_workflows.definition.mirrored import check_mirrored
from mcp_workflows.definition.text.document import read_document
from mcp_workflows.definition.text.nodes import Map

NAMES = st.sampled_from(["Region", "REGION", "x-zone", "a b", "", "Ü", 7, None])
TYPES = st.sampled_from(["string", "integer", "boolean", "number", "object", ["string", "null"], None])


LISTS = ("allOf", "anyOf", "prefixItems")
MAPS = ("$defs", "patternProperties", "dependentSchemas")
SINGLE = ("items", "additionalProperties", "not", "if", "contentSchema", "unevaluatedProperties", "contains")


def holding(word: str, inner: Any) -> dict[str, Any]:
    """A schema that has ``inner`` as a part of it."""
    match word:
        case "properties":
            return {"type": "object", "properties": {"a": inner, "properties": {"type": "string"}}}
        case _ if word in LISTS:
            return {word: [inner]}
        case _ if word in MAPS:
            return {word: {"key": inner}}
        case _:
            return {"type": "array", "items": {}, word: inner}


def named(kind: Any, name: Any) -> dict[str, Any]:
    return {"x-mcp-header": name, "default": None} | ({} if kind is None else {"type": kind})


def deeper(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(holding, st.sampled_from(["properties", *SINGLE, *LISTS, *MAPS]), inner)


PARTS = st.recursive(st.builds(named, TYPES, NAMES), deeper, max_leaves=4)


@given(st.dictionaries(st.sampled_from("abcd"), PARTS, max_size=3))
def test_what_is_refused_is_what_a_client_would_drop(properties: dict[str, Any]) -> None:
    schema = {"properties": properties}
    document = read_document(json.dumps(schema), "x.json")
    root = document.node(())
    assert isinstance(root, Map)
    check_mirrored(document, root)
    theirs = find_invalid_x_mcp_header(published(schema))
    assert bool(document.problems) is (theirs is not None), (document.problems, theirs)
