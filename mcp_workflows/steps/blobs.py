"""Bodies that lie outside the records: what an answer brought, for a later request of the same run.

A record holds only the reference, ``{blob, size, sha256, content_type}``; the bytes are given as they came.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Protocol, cast

from mcp_workflows.definition.program import Json
from mcp_workflows.errors import SystemUnwell
from mcp_workflows.steps.request import RequestInvalid, kind_name

_ID = re.compile(r"[A-Za-z0-9_.:-]{1,200}")


class Blobs(Protocol):
    """Where blobs are kept, each for one run."""

    async def put_blob(self, run_id: str, data: bytes, content_type: str | None) -> str:
        """The blob's id; the same content has the same one."""
        ...

    async def load_blob(self, run_id: str, blob_id: str) -> tuple[bytes, str | None] | None:
        """Content and content type; ``None``: that run has no such blob."""
        ...


class BlobUnavailable(Exception):
    """The store cannot be read now."""


def described(data: bytes, content_type: str | None) -> dict[str, Json]:
    """A reference before its blob is kept: without the id."""
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "content_type": content_type}


class BlobReader:
    """Reads the blobs of one request, at most ``limit`` bytes of them together."""

    def __init__(self, blobs: Blobs, run_id: str, limit: int) -> None:
        self._blobs = blobs
        self._run_id = run_id
        self._limit = limit
        self._left = limit

    async def read(self, place: str, value: Json) -> tuple[bytes, str | None]:
        """Content and content type of the blob that ``value`` refers to, as an object or by its id.

        Raises ``RequestInvalid``, also for a blob of another run, and ``BlobUnavailable``.
        """
        blob_id = _id_in(place, value)
        try:
            found = await self._blobs.load_blob(self._run_id, blob_id)
        except SystemUnwell as unwell:
            raise BlobUnavailable(str(unwell)) from None
        if found is None:
            raise RequestInvalid(
                f"{place}: this run has no such blob; it has those that its steps got with response: blob"
            )
        self._left -= len(found[0])
        if self._left < 0:
            raise RequestInvalid(f"{place}: the blobs are larger than {self._limit} bytes together")
        return found


def _id_in(place: str, value: Json) -> str:
    blob_id = cast("dict[str, Any]", value).get("blob") if isinstance(value, dict) else value
    if not isinstance(blob_id, str):
        raise RequestInvalid(f"{place}: expected a blob, found {kind_name(value)}")
    if not _ID.fullmatch(blob_id):
        raise RequestInvalid(f"{place}: this run has no such blob; it has those that its steps got with response: blob")
    return blob_id
