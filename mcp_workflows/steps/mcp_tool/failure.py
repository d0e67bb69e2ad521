"""What went wrong on the way to a server, in the terms of a step's failure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Failure:
    """``in_doubt``: the request may have reached whoever acts on it."""

    code: str
    message: str
    in_doubt: bool = False
    retryable: bool = False
    status: int | None = None
    retry_after: float | None = None


SESSION_GONE = "session_gone"
"""The server does not know the session any more: it refused the request, which may be made again in a new one."""
