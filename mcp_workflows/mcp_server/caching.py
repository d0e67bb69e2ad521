"""For how long clients may keep what they were told, since 2026-07-28.

Who keeps a list and listens to its changes is told when it is no longer so; the others learn of a change a little later.
"""

from __future__ import annotations

from typing import Final

from mcp.server.caching import CacheableMethod, CacheHint

WHILE_THEY_LAST: Final = 30_000
"""Milliseconds. What files say, the same for every caller: calls of a tool that is gone are refused with what there is."""

CACHE_HINTS: Final[dict[CacheableMethod, CacheHint]] = {
    "server/discover": CacheHint(WHILE_THEY_LAST, "public"),
    "tools/list": CacheHint(WHILE_THEY_LAST, "public"),
    "prompts/list": CacheHint(WHILE_THEY_LAST, "public"),
    "resources/templates/list": CacheHint(WHILE_THEY_LAST, "public"),
    "resources/list": CacheHint(0, "private"),
    "resources/read": CacheHint(0, "private"),
}
"""Runs are their callers' own, and move."""
