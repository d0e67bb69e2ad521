"""Where logs go: to stderr, one line each, at the level that the settings or the command ask for."""

from __future__ import annotations

import logging
import sys
from typing import Final

from mcp_workflows.settings import Settings

_FORMAT: Final = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
_CHATTY: Final = ("uvicorn", "mcp", "httpx2", "watchfiles", "alembic", "aiohttp", "sse_starlette")
"""Libraries that tell more than an operator asked for; heard from ``warning`` on, or all of it at ``debug``."""


def configure_logs(settings: Settings, default: str) -> None:
    """``default`` is the level where ``LOG_LEVEL`` is not set. Replaces whatever handlers there were."""
    level = settings.log_level or default
    logging.basicConfig(level=level.upper(), format=_FORMAT, stream=sys.stderr, force=True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.NOTSET if level == "debug" else logging.WARNING)
    logging.captureWarnings(True)
