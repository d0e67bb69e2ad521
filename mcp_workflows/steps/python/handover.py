"""From one thread to the event loop of another."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any


def tell(loop: asyncio.AbstractEventLoop, callback: Callable[..., None], *args: Any) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended: nobody is left to be told
        loop.call_soon_threadsafe(callback, *args)


class Handover:
    """Callbacks for an event loop, from any thread. However many come at a time, the loop is woken once for all of them:
    whoever wakes it lets go of the interpreter, and waits until the other threads let him have it again.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._callbacks: deque[Callable[[], None]] = deque()
        self._woken = False

    def put(self, callback: Callable[[], None]) -> None:
        """``callback`` must not raise."""
        self._callbacks.append(callback)
        if not self._woken:  # else the loop looks after what was just put there
            self._woken = True
            tell(self.loop, self._take)

    def _take(self) -> None:
        self._woken = False
        for _ in range(len(self._callbacks)):  # what comes meanwhile has its own turn
            self._callbacks.popleft()()
