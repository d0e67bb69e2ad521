"""``multipart/form-data``: fields and files in one body (RFC 7578), the same bytes each time it is made.

A boundary is usually random. Here it follows from the content, so that an attempt made again sends what the first one sent: a
service that compares a repetition with what it knows of the idempotency key finds them equal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from mcp_workflows.definition.program import Json
from mcp_workflows.steps.blobs import BlobReader
from mcp_workflows.steps.request import RequestInvalid, header_value, kind_name, text_of, utf8

DEFAULT_TYPE = "application/octet-stream"
DEFAULT_NAME = "blob"
"""As in browsers: without a filename, services take a part for a field and not for a file."""
_TAKEN = frozenset({"blob", "text", "filename", "content_type", "size", "sha256"})
"""Keys of a part; the last two come with a blob's own reference."""


@dataclass(frozen=True, slots=True)
class Part:
    """One field or file."""

    name: str
    content: bytes
    filename: str | None = None
    content_type: str | None = None

    def head(self) -> bytes:
        lines = [f'Content-Disposition: form-data; name="{_quoted(self.name)}"']
        if self.filename is not None:
            lines[0] += f'; filename="{_quoted(self.filename)}"'
        if self.content_type:
            lines.append(f"Content-Type: {self.content_type}")
        return utf8(f"multipart.{self.name}", "\r\n".join(lines))


async def parts_of(content: Json, reader: BlobReader) -> list[Part]:
    """The parts, in the order of ``content``: a list repeats the name, null leaves it out.

    Raises ``RequestInvalid`` and ``BlobUnavailable``.
    """
    if not isinstance(content, dict):
        raise RequestInvalid(f"multipart: expected a mapping, found {kind_name(content)}")
    return [
        await _part(name, item, reader)
        for name, value in cast("dict[str, Any]", content).items()
        for item in (cast("list[Any]", value) if isinstance(value, list) else [value])
        if item is not None
    ]


async def _part(name: str, value: Json, reader: BlobReader) -> Part:
    place = f"multipart.{name}"
    if not isinstance(value, dict):
        return Part(name, utf8(place, text_of(place, value)))
    given = cast("dict[str, Any]", value)
    unknown = [key for key in given if key not in _TAKEN]
    if unknown or ("blob" in given) == ("text" in given):
        raise RequestInvalid(f"{place}: expected text, or a mapping with blob or text, filename and content_type")
    filename = None if given.get("filename") is None else text_of(f"{place}.filename", given["filename"])
    content_type = given.get("content_type")
    if content_type is not None:
        content_type = header_value(f"{place}.content_type", content_type)
    if "text" in given:
        return Part(name, utf8(place, text_of(place, given["text"])), filename, content_type)
    data, its_type = await reader.read(place, given["blob"])
    return Part(name, data, DEFAULT_NAME if filename is None else filename, content_type or its_type or DEFAULT_TYPE)


def encode(parts: Sequence[Part]) -> tuple[bytes, str]:
    """The body, and the ``Content-Type`` with its boundary."""
    heads = [part.head() for part in parts]
    digest = hashlib.sha256()
    for head, part in zip(heads, parts, strict=True):
        for piece in (head, part.content):
            digest.update(b"%d:" % len(piece) + piece)
    boundary = digest.hexdigest().encode()[:40]
    while any(boundary in piece for part, head in zip(parts, heads, strict=True) for piece in (part.content, head)):
        boundary = hashlib.sha256(boundary).hexdigest().encode()[:40]
    pieces: list[bytes] = []
    for head, part in zip(heads, parts, strict=True):
        pieces += [b"--", boundary, b"\r\n", head, b"\r\n\r\n", part.content, b"\r\n"]
    pieces += [b"--", boundary, b"--\r\n"]
    return b"".join(pieces), f"multipart/form-data; boundary={boundary.decode()}"


def _quoted(text: str) -> str:
    """As browsers write names (HTML, "multipart form data"): nothing in it can end the quotes or the line."""
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A").replace("\0", "%00")
