"""What stands in the body of a request: JSON, the fields and files of a form, or one file."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from aiohttp import BodyPartReader, hdrs, web

from mcp_workflows.samples.service import Json

_FILES = ("application/pdf", "application/octet-stream", "image/", "text/")


async def body_of(request: web.Request) -> tuple[dict[str, Json], dict[str, bytes]]:
    """What is told of it, and the bytes of its files by field (``""``: the whole body). ValueError says what is unfit."""
    if request.content_type == "multipart/form-data":
        return await _form(request)
    content = await request.read()
    if not content:
        return {}, {}
    if hdrs.CONTENT_TYPE in request.headers and request.content_type.startswith(_FILES):
        return _about(content, request.content_type, None), {"": content}
    return await _object(request), {}


async def _object(request: web.Request) -> dict[str, Json]:
    try:
        body: Any = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ValueError("the body is no JSON object")  # noqa: TRY004 (it is a value of the caller's, of the wrong kind)
    return body  # pyright: ignore[reportUnknownVariableType]


async def _form(request: web.Request) -> tuple[dict[str, Json], dict[str, bytes]]:
    told: dict[str, Json] = {}
    files: dict[str, bytes] = {}
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader) or part.name is None:
            raise ValueError("every part of the form needs a name")
        content = await part.read()
        if part.filename is None:
            told[part.name] = content.decode()
        else:
            told[part.name] = _about(content, part.headers.get(hdrs.CONTENT_TYPE, ""), part.filename)
            files[part.name] = bytes(content)
    return told, files


def _about(content: bytes | bytearray, content_type: str, filename: str | None) -> dict[str, Json]:
    named = {"filename": filename} if filename else {}
    return {**named, "content_type": content_type, "size": len(content), "sha256": sha256(content).hexdigest()}
