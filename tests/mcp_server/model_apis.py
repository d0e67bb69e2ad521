"""What the APIs of the large models refuse in the schema of a tool: one such tool makes every request of a session fail.

Anthropic: a name beyond 64 of ``[a-zA-Z0-9_-]``, ``oneOf``, ``anyOf`` or ``allOf`` at the top, property keys beyond
``[A-Za-z0-9_.-]{1,64}``. OpenAI: an array without ``items``, a list of types. Gemini: these two, and an ``enum`` of
anything but texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from jsonschema import Draft202012Validator
from mcp_types import Tool

_COMBINED = ("oneOf", "anyOf", "allOf", "not", "$ref")


def complaints(tool: Tool) -> list[str]:
    """Why some API would refuse it."""
    schema = tool.input_schema
    Draft202012Validator.check_schema(schema)
    found = [] if re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", tool.name) else [f"the name {tool.name}"]
    if schema.get("type") != "object":
        found.append("the top is no object")
    found += [f"{word} at the top" for word in _COMBINED if word in schema]
    return found + list(_inside(schema, ""))


def _inside(schema: Mapping[str, Any], path: str) -> Iterator[str]:
    if isinstance(schema.get("type"), list):
        yield f"{path}: a list of types"
    if "array" in str(schema.get("type")) and "items" not in schema:
        yield f"{path}: an array without items"
    if "enum" in schema and not all(isinstance(one, str) for one in schema["enum"]):
        yield f"{path}: an enum of what is no text"
    properties = cast("dict[str, Mapping[str, Any]]", schema.get("properties", {}))
    for name, inner in properties.items():
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name):
            yield f"{path}: the key {name}"
        yield from _inside(inner, f"{path}.{name}")
    if isinstance(schema.get("items"), dict):
        yield from _inside(schema["items"], f"{path}[]")
