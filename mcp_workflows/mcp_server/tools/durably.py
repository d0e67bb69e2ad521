"""Finishing what a call began even when the call is abandoned: a run is durable, or it is not there at all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Durably:
    """Runs work that must not be cut in half by a client that goes away in the middle of it."""

    def __init__(self) -> None:
        self._under_way: set[asyncio.Task[Any]] = set()

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Await ``work``; if the caller is cancelled, the work goes on to its end all the same."""
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_report)
            raise

    async def settled(self, seconds: float) -> None:
        """Once all of it has ended, or ``seconds`` passed: the end of the process does not wait for a sick database."""
        if self._under_way:
            await asyncio.wait(set(self._under_way), timeout=seconds)


def _report(task: asyncio.Task[Any]) -> None:
    """Nobody is left who could be told but whoever reads the log."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.warning("a call that was abandoned came to nothing: %s", error)
