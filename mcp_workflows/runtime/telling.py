"""Telling somebody who waits how far a run is: as it moves, and seldom enough that counting costs next to nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from mcp_workflows.engine.records import Run
from mcp_workflows.runtime.watching import Watch

_FIRST_SECONDS: Final = 0.1
"""A run that ends sooner is never counted."""
_SHARE: Final = 10
"""Counting takes at most one part in so many of the time."""


class Teller:
    """Tells ``how`` far a run is when something was recorded of it, or a moment later if it was told just before."""

    def __init__(self, how: Callable[[Run], Awaitable[None]] | None) -> None:
        self._how = how
        self._clock = asyncio.get_running_loop().time
        self._not_before = self._clock() + _FIRST_SECONDS
        self._untold = False

    async def listen(self, watch: Watch) -> Run | None:
        """Until there are news, or some that were not told yet can be: the run, or ``None`` when it has to be read."""
        pause = max(self._not_before - self._clock(), 0.0) if self._untold else None
        try:
            async with asyncio.timeout(pause):
                run = await watch.news()
        except TimeoutError:
            return None
        self._untold = self._how is not None
        return run

    async def tell(self, run: Run) -> None:
        """What was not told yet, once its time has come."""
        begun = self._clock()
        if self._how is None or not self._untold or begun < self._not_before:
            return
        self._untold = False
        await self._how(run)
        self._not_before = self._clock() + max((self._clock() - begun) * _SHARE, _FIRST_SECONDS)
