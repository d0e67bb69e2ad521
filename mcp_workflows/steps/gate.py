"""How many attempts are in flight, on this node or to one host: so many at once, the others in the order in which they came."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable


class Gate:
    """Places per key. An idle key costs no memory."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._busy: dict[Hashable, int] = {}
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}

    def enter(self, key: Hashable) -> bool:
        """Takes a place at once if there is one."""
        busy = self._busy.get(key, 0)
        if busy >= self._places:
            return False
        self._busy[key] = busy + 1
        return True

    async def wait(self, key: Hashable) -> None:
        """Takes the next place that is left. Cancelled, it takes none."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave(key)
            raise

    def leave(self, key: Hashable) -> None:
        """Hands the place to whoever waits longest."""
        waiting = self._waiting.get(key)
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                break
        else:
            self._busy[key] -= 1
            if not self._busy[key]:
                del self._busy[key]
        if waiting is not None and not waiting:
            del self._waiting[key]
