"""Three servers on one database, each with files of its own, and clients that see every hitch of a deploy."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from tests.soak.audit import Base
from tests.soak.callers import Again, PlainCaller, Refused, Told
from tests.soak.cluster import Slot, slots
from tests.soak.ledger import Ledger, ledger

BOUND = 120.0
"""Seconds for anything, on a machine however busy."""


@dataclass(slots=True)
class Hitches:
    """What clients met with, besides answers. ``nobody``: a server was not there, which costs a client nothing."""

    refusals: list[str] = field(default_factory=list[str])
    dropped: list[str] = field(default_factory=list[str])
    """Calls that were sent and not answered."""
    nobody: int = 0


class WatchfulCaller(PlainCaller):
    """Goes on as the others do, and remembers what was not as it should be."""

    def __init__(self, places: Sequence[Slot], dice: random.Random, hitches: Hitches) -> None:
        super().__init__(places, dice)
        self._places = places
        self._hitches = hitches

    async def call(self, tool: str, arguments: Told) -> Told:
        while True:
            slot = self._dice.choice(self._places)
            began = time.time()
            try:
                return await self._call(slot.url, tool, arguments)
            except aiohttp.ClientConnectorError:
                self._hitches.nobody += 1
            except (Refused, Again) as refused:
                self._hitches.refusals.append(f"{tool} at {slot.label}: {refused}")
                if isinstance(refused, Refused):
                    raise
            except (aiohttp.ClientError, OSError, TimeoutError) as broken:
                if isinstance(broken.__cause__, aiohttp.ClientConnectionResetError):
                    # It had heard that the connection is closed before it wrote anything, and asks on another one.
                    self._hitches.nobody += 1
                    continue
                self._hitches.dropped.append(f"{tool} at {slot.label} after {time.time() - began:.3f} s: {broken!r}")
            await asyncio.sleep(0.02)


@dataclass
class Place:
    folder: Path
    base: Base
    ledger: Ledger
    slots: Sequence[Slot]

    def caller(self, hitches: Hitches, *, only: Sequence[Slot] | None = None) -> WatchfulCaller:
        return WatchfulCaller(only or self.slots, random.Random(1), hitches)

    async def serving(self) -> None:
        for slot in self.slots:
            await slot.serving()

    async def once(self, condition: str, seconds: float = BOUND) -> float:
        """When it was first seen that the query ``condition`` finds something, by the wall clock."""
        async with asyncio.timeout(seconds):
            while not await asyncio.to_thread(self.base.read, condition):  # noqa: ASYNC110  (written by other processes)
                await asyncio.sleep(0.01)
        return time.time()


@asynccontextmanager
async def place(
    folder: Path, url: str, definitions: Sequence[Path], *, lease_seconds: float = 15.0
) -> AsyncGenerator[Place]:
    """A server for each of ``definitions``, serving; its settings are those of a deployment."""
    base = Base(url)
    base.prepare()
    async with AsyncExitStack() as stack:
        books = await stack.enter_async_context(ledger(random.Random(1), fault_rate=0.0))
        settings = {"LEASE_SECONDS": str(lease_seconds), "VAR_LEDGER": books.url, "DATABASE_URL": url}
        places = await stack.enter_async_context(slots(folder, [settings] * len(definitions), definitions))
        here = Place(folder, base, books, places)
        await here.serving()
        yield here
