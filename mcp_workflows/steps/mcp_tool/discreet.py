"""Keeps what goes to servers, and comes from them, out of the log: the SDK tells whole messages at ``debug``, and quotes what
it cannot read in tracebacks, and in both may stand a secret."""

from __future__ import annotations

import logging
from typing import Final

_LOGGERS: Final = (
    "mcp.client.stdio",
    "mcp.client.streamable_http",
    "mcp.client.session",
    "mcp.client.client",
    "mcp.shared.jsonrpc_dispatcher",
)


class _Discreet(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info = None
        record.exc_text = None
        return record.levelno > logging.DEBUG


_DISCREET: Final = _Discreet()


def hush_the_sdk() -> None:
    """Adding the same filter twice adds it once."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_DISCREET)
