"""How results and refusals are put into a ``CallToolResult``.

Of a success many clients give the model the structured content alone, of an error the first text alone. So everything is
in both: the one text of a success is the JSON of its structured content, and a refusal is one text that lacks nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeAlias, cast

from mcp_types import CallToolResult, InputRequiredResult, TextContent

from mcp_workflows.definition.program import Json
from mcp_workflows.mcp_server.views.wording import clean

Answer: TypeAlias = CallToolResult | InputRequiredResult | dict[str, Any]
"""To the call of a tool: its result, what the client is to ask first, or the task that it became."""


def answer(told: Mapping[str, Json], *, is_error: bool = False) -> CallToolResult:
    """``is_error``: what was asked for did not come about, as ``told`` says."""
    text = json.dumps(told, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return answer(cast("Mapping[str, Json]", _without_surrogates(dict(told))), is_error=is_error)
    return CallToolResult(
        content=[TextContent(type="text", text=text)], structured_content=dict(told), is_error=is_error
    )


def refusal(text: str) -> CallToolResult:
    """An error whose text says what happened, what state that leaves, and what to do."""
    clean = text.encode("utf-8", "replace").decode("utf-8")
    return CallToolResult(content=[TextContent(type="text", text=clean)], is_error=True)


def _without_surrogates(value: Json) -> Json:
    match value:
        case str():
            return clean(value)
        case list():
            return [_without_surrogates(element) for element in cast("list[Json]", value)]
        case dict():
            members = cast("dict[str, Json]", value)
            return {_without_surrogates(key): _without_surrogates(member) for key, member in members.items()}
        case _:
            return value
