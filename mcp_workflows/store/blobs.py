"""Content that stands beside the records, and the one secret that all nodes of a database share."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable

from mcp_workflows.errors import UnknownRun
from mcp_workflows.store import rows
from mcp_workflows.store.statements import Cursor, Statements

SECRET_KEY = "secret_key"  # noqa: S105  (the name of the setting)
SECRET_BYTES = 32


def blob_id(data: bytes) -> str:
    """Made from the content: whoever puts the same again gets the same."""
    return "b_" + hashlib.sha256(data).hexdigest()[:32]


def put_blob(
    statements: Statements, run_id: str, which: str, data: bytes, content_type: str | None
) -> Callable[[Cursor, int], str]:
    """Writes the blob, unless the run has it."""
    kind = rows.to_text(content_type)

    def call(cursor: Cursor, now: int) -> str:  # noqa: ARG001
        written = statements.put_blob.run(
            cursor, of=run_id, blob_id=which, content_type=kind, size=len(data), data=data
        )
        if written == 0:
            statements.blob_is_there.run(cursor, of=run_id, blob_id=which)
            if not cursor.fetchall():
                raise UnknownRun(f"No run {run_id}.")
        return which

    return call


def secret_key(statements: Statements) -> Callable[[Cursor, int], bytes]:
    """The database's key; the first who asks makes it."""
    new = secrets.token_bytes(SECRET_BYTES)

    def call(cursor: Cursor, now: int) -> bytes:  # noqa: ARG001
        statements.put_setting.run(cursor, setting=SECRET_KEY, new=new)
        statements.setting.run(cursor, setting=SECRET_KEY)
        return cursor.fetchall()[0][0]

    return call
