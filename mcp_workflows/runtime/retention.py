"""Deleting runs that finished long ago, whole trees at a time, and so slowly that nobody who works notices."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

from mcp_workflows.clock import Clock
from mcp_workflows.errors import NodeLost, StoreUnavailable
from mcp_workflows.store import Store, Tree

logger = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_SECONDS: Final = 60.0
"""Between the start of a server and its first look: it has runs to take up first."""
INTERVAL_SECONDS: Final = 600.0
BACKGROUND: Final = 9.0
"""For every second that a server spends deleting, so many are for other work."""
AT_ONCE: Final = 500
"""Runs withdrawn in one transaction. A tree of more is withdrawn whole all the same."""


@dataclass(frozen=True, slots=True)
class Swept:
    """How much was deleted: trees of runs, and the runs in them."""

    trees: int = 0
    runs: int = 0

    def __add__(self, trees: Sequence[Tree]) -> Swept:
        return Swept(self.trees + len(trees), self.runs + sum(len(tree.run_ids) for tree in trees))


class Retention:
    """Every method raises as the store does."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def count(self, before: datetime) -> Swept:
        """What ``sweep`` would delete now."""
        found = Swept()
        async for trees in self._expired(before):
            found += trees
        return found

    async def sweep(
        self, before: datetime, *, rest: float = 1.0, swept: Callable[[Swept], None] = lambda _: None
    ) -> Swept:
        """Deletes what finished before that instant, whole trees. ``rest``: seconds of pause for each second of work.

        To be cut off in the middle does no harm: what is left is deleted at the next sweep. ``swept`` hears how far it is.
        """
        gone = Swept()
        await self._delete_withdrawn(rest)
        async for trees in self._expired(before):
            for some in _bunches(trees):
                gone += await _resting(self._store.withdraw(some, before), rest)
                await self._delete_withdrawn(rest)
                swept(gone)
        return gone

    async def keep_at(self, keep: timedelta, is_my_turn: Callable[[], Awaitable[bool]]) -> None:
        """Deletes what finished longer ago than ``keep``, for ever, while it is this node's turn to do so."""
        await asyncio.sleep(FIRST_SECONDS)
        while True:
            try:
                if await is_my_turn():
                    gone = await self.sweep(self._clock() - keep, rest=BACKGROUND)
                    if gone.runs:
                        logger.info("deleted %d runs that finished more than %s ago", gone.runs, keep)
            except (StoreUnavailable, NodeLost) as unwell:
                logger.warning("old runs are deleted later: %s", unwell)
            await asyncio.sleep(INTERVAL_SECONDS)

    async def _expired(self, before: datetime) -> AsyncIterator[Sequence[Tree]]:
        after = None
        while True:
            page = await self._store.expired(before, after)
            if page.trees:
                yield page.trees
            if page.after is None:
                return
            after = page.after

    async def _delete_withdrawn(self, rest: float) -> None:
        while await _resting(self._store.delete_some(), rest):
            pass


def _bunches(trees: Sequence[Tree]) -> Iterator[Sequence[Tree]]:
    bunch: list[Tree] = []
    runs = 0
    for tree in trees:
        if bunch and runs + len(tree.run_ids) > AT_ONCE:
            yield bunch
            bunch, runs = [], 0
        bunch.append(tree)
        runs += len(tree.run_ids)
    if bunch:
        yield bunch


async def _resting(work: Awaitable[T], rest: float) -> T:
    """What ``work`` gives, after ``rest`` times as long as it took: the more others have to do, the slower this goes."""
    begun = time.monotonic()
    result = await work
    await asyncio.sleep((time.monotonic() - begun) * rest)
    return result
