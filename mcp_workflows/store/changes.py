"""Tells those who wait that something they may not know of has been committed."""

from __future__ import annotations

import asyncio


class Changes:
    """A counter that grows, on one event loop."""

    def __init__(self) -> None:
        self.count = 0
        self._grew = asyncio.Event()

    def grow(self) -> None:
        self.count += 1
        self._grew.set()
        self._grew = asyncio.Event()

    async def wait(self, since: int) -> int:
        """Until the count differs from ``since``; answers with the count."""
        while self.count == since:
            await self._grew.wait()
        return self.count
