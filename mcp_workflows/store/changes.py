"""Tells those who wait that something they may not know of has been committed."""

from __future__ import annotations

import asyncio

APART_SECONDS = 0.1
"""Between two times that commits of others are told: who looks each time must have time for other things too."""


class Changes:
    """A counter that grows, on one event loop."""

    def __init__(self) -> None:
        self.count = 0
        self._grew = asyncio.Event()
        self._heard_at: float | None = None
        self._hearing = False

    def grow(self) -> None:
        self.count += 1
        self._grew.set()
        self._grew = asyncio.Event()

    def hear(self) -> None:
        """Others have committed. It is told at once, or a moment later if others just had: busy ones do it all the time."""
        if self._hearing:
            return
        loop = asyncio.get_running_loop()
        wait = 0.0 if self._heard_at is None else self._heard_at + APART_SECONDS - loop.time()
        if wait <= 0:
            self._tell(loop.time())
        else:
            self._hearing = True
            loop.call_later(wait, lambda: self._tell(loop.time()))

    def _tell(self, now: float) -> None:
        self._hearing = False
        self._heard_at = now
        self.grow()

    async def wait(self, since: int) -> int:
        """Until the count differs from ``since``; answers with the count."""
        while self.count == since:
            await self._grew.wait()
        return self.count
