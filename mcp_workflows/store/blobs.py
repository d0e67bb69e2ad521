"""Content that stands beside the records, and the one secret that all nodes of a database share."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator
from typing import Any

from mcp_workflows.errors import UnknownRun
from mcp_workflows.store import rows
from mcp_workflows.store.prepared import Cursor
from mcp_workflows.store.statements import Statements

PART_BYTES = 4 * 1024 * 1024
"""Of one transaction: the records of other runs wait no longer than that takes."""

SECRET_KEY = "secret_key"  # noqa: S105  (the name of the setting)
SECRET_BYTES = 32


def blob_id(data: bytes) -> str:
    """Made from the content: whoever puts the same again gets the same."""
    return "b_" + hashlib.sha256(data).hexdigest()[:32]


def parts(
    statements: Statements, run_id: str, which: str, data: bytes, content_type: str | None
) -> Iterator[tuple[Callable[[Cursor, int], None], int]]:
    """What is to be called to write the blob, each with its size, in order and in transactions of their own."""
    kind = rows.to_text(content_type)
    for part in range((max(len(data), 1) - 1) // PART_BYTES, -1, -1):
        content = memoryview(data)[part * PART_BYTES : (part + 1) * PART_BYTES]
        yield (
            _put_part(statements, run_id, content, blob_id=which, part=part, content_type=kind, size=len(data)),
            len(content),
        )


def _put_part(statements: Statements, run_id: str, content: memoryview, **values: Any) -> Callable[[Cursor, int], None]:
    """Writes a part, unless it is there."""

    def call(cursor: Cursor, now: int) -> None:  # noqa: ARG001
        if statements.put_blob.run(cursor, of=run_id, data=content, **values) == 1:
            return
        statements.part_is_there.run(cursor, of=run_id, blob_id=values["blob_id"], part=values["part"])
        if not cursor.fetchall():
            raise UnknownRun(f"No run {run_id}.")

    return call


def secret_key(statements: Statements) -> Callable[[Cursor, int], bytes]:
    """The database's key; the first who asks makes it."""
    new = secrets.token_bytes(SECRET_BYTES)

    def call(cursor: Cursor, now: int) -> bytes:  # noqa: ARG001
        statements.put_setting.run(cursor, setting=SECRET_KEY, new=new)
        statements.setting.run(cursor, setting=SECRET_KEY)
        return cursor.fetchall()[0][0]

    return call
