"""Telling those who follow a run that something was recorded of it, whichever node moves it.

All runs that are followed are looked at together, and seldom enough that looking costs little: a thousand followers of a busy
database must not keep others from reading it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from mcp_workflows.errors import StoreUnavailable
from mcp_workflows.runtime.node import Node
from mcp_workflows.runtime.watching import Watch
from mcp_workflows.store import Mark, Store

logger = logging.getLogger(__name__)

Tell = Callable[[], None]
"""Is called when something was recorded of the run. Must not raise, nor stop following."""
Stop = Callable[[], None]
"""Ends what it came from. To be called once."""

_APART_SECONDS: Final = 0.1
_SHARE: Final = 10
"""Looking takes at most one part in so many of the time."""


class Following:
    """The runs that somebody in this process follows."""

    def __init__(self, node: Node, store: Store) -> None:
        self._node = node
        self._store = store
        self._watch = Watch()
        self._tells: dict[str, list[Tell]] = {}
        self._marks: dict[str, Mark | None] = {}
        self._looking: asyncio.Task[None] | None = None

    async def follow(self, run_id: str, tell: Tell) -> Stop:
        """Tell of all that is recorded of the run from now on; several records in a row may be told as one.

        Raises ``StoreUnavailable``.
        """
        mark = (await self._store.marks([run_id])).get(run_id)
        if run_id not in self._tells:
            self._tells[run_id] = []
            self._marks[run_id] = mark
            self._node.watches.add(run_id, self._watch)
            self._watch.notice(None)  # for what was recorded between the mark and this moment
        self._tells[run_id].append(tell)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        return partial(self._unfollow, run_id, tell)

    def _unfollow(self, run_id: str, tell: Tell) -> None:
        tells = self._tells[run_id]
        tells.remove(tell)
        if not tells:
            del self._tells[run_id], self._marks[run_id]
            self._node.watches.remove(run_id, self._watch)
        if not self._tells and self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def _look(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            await self._watch.news()
            begun = clock()
            try:
                before = dict(self._marks)
                self._compare(before, await self._store.marks(before))
            except StoreUnavailable as unwell:
                logger.warning("those who follow runs are told nothing: %s", unwell)
                self._watch.notice(None)
            await asyncio.sleep(max((clock() - begun) * _SHARE, _APART_SECONDS))

    def _compare(self, before: Mapping[str, Mark | None], now: Mapping[str, Mark]) -> None:
        for run_id, mark in before.items():
            if now.get(run_id) != mark and run_id in self._marks:
                self._marks[run_id] = now.get(run_id)
                for tell in list(self._tells[run_id]):
                    tell()
