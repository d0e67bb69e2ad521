"""What a person may correct in a failed step's request, for every kind of work: the same rules hold at ``resume`` and here."""

from __future__ import annotations

from typing import Any, Final, cast

from mcp_workflows.definition.program import HttpWork, JqWork, Json, McpToolWork, PythonWork, Work
from mcp_workflows.steps import request

_PARTS: Final[dict[type, str]] = {PythonWork: "args", McpToolWork: "arguments", JqWork: "input"}
"""The one part of these kinds' requests that may be corrected; ``http`` has its own rules."""
CORRECTABLE: Final = ("query", "json", "form", "text", "multipart", "blob", *_PARTS.values())
"""The parts that some kind of request lets be corrected. What else a shown request tells is never named like one of them."""


def refuse_correction(work: Work, correction: Json) -> str | None:
    """Why a correction of this work's request is refused, or ``None``."""
    if isinstance(work, HttpWork):
        return request.refuse_correction(work, correction)
    if correction is None:
        return None
    part = _PARTS.get(type(work))
    if part is None or (isinstance(work, McpToolWork) and work.tool is None):
        return "request: this step has no request that could be corrected"
    if not isinstance(correction, dict):
        return "request: expected a mapping"
    corrections = cast("dict[str, Any]", correction)
    for key in corrections:
        if key != part:
            return f'request: "{key}" cannot be corrected here, only {part}'
    if part != "input" and part in corrections and not isinstance(corrections[part], dict):
        return f"request.{part}: expected a mapping"
    return None


def corrected(work: Work, correction: Json, rendered: Json) -> Json:
    """The rendered arguments with a checked correction merged in (RFC 7396)."""
    part = _PARTS[type(work)]
    if not correction or part not in correction:
        return rendered
    return request.merge_patch(rendered, cast("dict[str, Any]", correction)[part])
