"""What a JSON value looks like without its contents, so that a model can ask for the part it needs."""

from __future__ import annotations

import json
from typing import cast

from mcp_workflows.definition.program import Json
from mcp_workflows.mcp_server.views.wording import cut

_LONGEST = 300
_TIMES = "\N{MULTIPLICATION SIGN}"
_KEYS = 12
_DEPTH = 4
_TEXT = 200
"""Texts longer than this are worth a mention of their length."""


def shape_of(value: Json) -> str:
    """``{installed: [412 x {device, run}]}``: keys, lengths of lists and of long texts; scalars are their key alone."""
    return cut(_shape(value, _DEPTH) or "scalar", _LONGEST)


def size_of(value: Json) -> int:
    """Bytes of its JSON."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"))


def _shape(value: Json, depth: int) -> str:
    match value:
        case dict():
            return _of_object(cast("dict[str, Json]", value), depth)
        case list():
            return _of_list(cast("list[Json]", value), depth)
        case str() if len(value) > _TEXT:
            return f"text of {len(value)} characters"
        case _:
            return ""


def _of_object(value: dict[str, Json], depth: int) -> str:
    if depth == 0:
        return "{…}"
    inner = [(key, _shape(member, depth - 1)) for key, member in list(value.items())[:_KEYS]]
    parts = [f"{key}: {shape}" if shape else key for key, shape in inner]
    if len(value) > _KEYS:
        parts.append(f"… {len(value) - _KEYS} more")
    return f"{{{', '.join(parts)}}}"


def _of_list(value: list[Json], depth: int) -> str:
    if not value:
        return "[]"
    if depth == 0:
        return f"[{len(value)} {_TIMES} …]"
    inner = _shape(value[0], depth - 1) or type(value[0]).__name__.replace("NoneType", "null")
    return f"[{len(value)} {_TIMES} {inner}]"
