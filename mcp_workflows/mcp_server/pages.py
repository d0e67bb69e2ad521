"""Long lists in pages. A cursor names the last entry of its page, so what comes or goes elsewhere changes nothing."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, PaginatedRequestParams

T = TypeVar("T")

PAGE = 100
"""Entries of one page. Clients that know of no pages see the first one only."""


def page_of(
    entries: Sequence[T], key: Callable[[T], str], params: PaginatedRequestParams | None, *, listed: str
) -> tuple[list[T], str | None]:
    """One page of ``entries``, which ``key`` tells apart, and the cursor of the next. ``listed``: the method.

    Raises:
        MCPError: The cursor was not given by this list, or what it names is no longer in it.
    """
    cursor = None if params is None else params.cursor
    start = 0 if cursor is None else _after(entries, key, cursor, listed)
    page = list(entries[start : start + PAGE])
    more = start + PAGE < len(entries)
    return page, _cursor(listed, key(page[-1])) if more else None


def _after(entries: Sequence[T], key: Callable[[T], str], cursor: str, listed: str) -> int:
    for place, entry in enumerate(entries):
        if _cursor(listed, key(entry)) == cursor:
            return place + 1
    if _known(listed, cursor):
        raise MCPError(INVALID_PARAMS, f"This cursor is stale: the list has changed. Call {listed} again without one.")
    raise MCPError(INVALID_PARAMS, f"No nextCursor of {listed} reads like this one. Call it again without a cursor.")


def _cursor(listed: str, key: str) -> str:
    return base64.urlsafe_b64encode(f"{listed} {key}".encode()).decode()


def _known(listed: str, cursor: str) -> bool:
    try:
        return base64.urlsafe_b64decode(cursor.encode()).startswith(f"{listed} ".encode())
    except (binascii.Error, UnicodeEncodeError):
        return False
