"""How far behind the ledger is: what came in while its process was busy is read later than it was sent.

The clients of the load share its event loop, and the machine is shared by all: a call that was sent, and given up by its
sender, can lie in the socket for seconds before the ledger reads it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

TICK_SECONDS = 0.02
TURNS = 6
"""Turns of the event loop from a connection that waits to be accepted to a request that is read: no more than that."""


class Pace:
    """Ticks while ``keep`` runs, at most once in each turn of the event loop."""

    def __init__(self) -> None:
        self._ticks = deque([time.time()], maxlen=TURNS)

    def behind(self) -> float:
        """Seconds that have passed, at most, since what is read in this turn was there to be read."""
        return time.time() - self._ticks[0]

    async def keep(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._ticks.append(time.time())
