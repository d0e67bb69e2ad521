"""Values on their way into CEL and out of it."""

from __future__ import annotations

from typing import Any, cast

from mcp_workflows.definition.expressions.library import ERROR, Value


class Unusable(Exception):
    """A value that cannot pass; the message says why."""


def from_cel(value: Value) -> Any:
    """The Python value of ``value``, level by level: asking for a whole one crashes on an optional inside."""
    plain = value.value()
    if isinstance(plain, str):
        if value.type() == ERROR:
            raise Unusable(plain)
        return plain
    if isinstance(plain, list):
        return [from_cel(element) for element in cast("list[Value]", plain)]
    if isinstance(plain, dict):
        return {key: from_cel(element) for key, element in cast("dict[Any, Value]", plain).items()}
    return plain
