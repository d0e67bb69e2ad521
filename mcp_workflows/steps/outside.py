"""Puts a body that lies outside the records into a rendered request: one blob, or a form with files."""

from __future__ import annotations

from mcp_workflows.steps.blobs import BlobReader
from mcp_workflows.steps.multipart import DEFAULT_TYPE, encode, parts_of
from mcp_workflows.steps.request import Request, header_value


async def with_body(request: Request, kind: str, reader: BlobReader) -> Request:
    """``kind`` is one of ``OUTSIDE``. Raises ``RequestInvalid`` and ``BlobUnavailable``."""
    content = request.shown[kind]
    headers = dict(request.headers)
    given = [name for name in headers if name.lower() == "content-type"]
    if kind == "multipart":
        for name in given:  # it could not know the boundary
            del headers[name]
        body, headers["Content-Type"] = encode(await parts_of(content, reader))
    else:
        body, content_type = await reader.read("blob", content)
        if not given:
            headers["Content-Type"] = header_value("Content-Type", content_type or DEFAULT_TYPE)
    return request._replace(headers=headers, body=body)
