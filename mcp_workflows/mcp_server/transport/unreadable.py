"""Answering a message that is no valid JSON-RPC message, or JSON that the SDK's reader refuses."""

from __future__ import annotations

import json
from typing import Any, cast

from mcp_types import INVALID_REQUEST, PARSE_ERROR, ErrorData, JSONRPCError, JSONRPCResponse

from mcp_workflows.mcp_server.tools.answers import refusal
from mcp_workflows.mcp_server.views.refusals import arguments_refused

_WHY = (
    "The message cannot be read: it is nested more than 200 levels deep, or a text in it is no valid Unicode "
    "(half of a surrogate pair)."
)


def answer_to_unreadable(line: bytes) -> JSONRPCResponse | JSONRPCError:
    """With the id of the request, where that can be found. A tool call gets a refusal that its model can read."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return _error(None, PARSE_ERROR, "Parse error: the line is no JSON")
    if not isinstance(message, dict):
        return _error(None, INVALID_REQUEST, "Expected one JSON-RPC message in a line")
    fields = cast("dict[str, Any]", message)
    request_id = fields.get("id")
    if isinstance(request_id, bool) or not isinstance(request_id, int | str) or "method" not in fields:
        return _error(None, INVALID_REQUEST, "Not a JSON-RPC 2.0 message")
    if fields.get("method") != "tools/call":
        return _error(request_id, INVALID_REQUEST, _WHY)
    result = refusal(arguments_refused(_WHY)).model_dump(by_alias=True, mode="json", exclude_none=True)
    return JSONRPCResponse(jsonrpc="2.0", id=request_id, result=result)


def _error(request_id: int | str | None, code: int, message: str) -> JSONRPCError:
    return JSONRPCError(jsonrpc="2.0", id=request_id, error=ErrorData(code=code, message=message))
