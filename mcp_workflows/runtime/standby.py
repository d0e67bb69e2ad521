"""A server that nobody can call, beside one on the same database that serves over HTTP: it speaks, that one moves the runs.

A server on stdio ends with its client, which gives it two seconds: what it has in flight by then is cut off, and in doubt. One
over HTTP outlives its clients. So while such a one is up, runs are left to it. Nothing depends on it: what it says it cannot
move is moved here, and so is whatever it leaves lying, be it full, frozen, or gone and not yet known to be.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Collection
from datetime import datetime

from mcp_workflows.store import NodeReport, Store

logger = logging.getLogger(__name__)

PATIENCE = 1.0
"""Seconds that a run which anybody may claim is left lying before it is claimed here."""
LOOKED_AT = 500
"""Runs left lying that are looked at together, those that are due the longest."""


class Standby:
    """What one such server knows of those over HTTP, as of its last look."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._callable: tuple[NodeReport, ...] = ()
        self._lying: dict[int, float] = {}

    @property
    def served_at(self) -> str | None:
        """Where a server over HTTP is served that is up, the longest-running of them; ``None``: there is none."""
        return self._callable[0].served_at if self._callable else None

    def leaves(self, workflow: str, version: int) -> bool:
        """Whether a server over HTTP is up that says nothing against moving runs of this version."""
        wanted = (workflow, version)
        return any(all(unable[:2] != wanted for unable in report.cannot) for report in self._callable)

    async def look(self) -> bool:
        """See who is up; answers whether one is where there was none before. Raises ``StoreUnavailable``."""
        before = self.served_at
        reports = (await self._store.reports()).values()
        self._callable = tuple(report for report in reports if report.served_at is not None)
        if before is None and self.served_at is not None:
            logger.info("runs are left to the server at %s", self.served_at)
        elif before is not None and self.served_at is None:
            logger.info("no server over HTTP is up any more: runs are moved here")
            self._lying.clear()
        return before is None and self.served_at is not None

    async def left_lying(self, now: datetime, cannot: Collection[int]) -> list[int]:
        """Keys of runs that are claimable, and not claimed by those that they were left to. Raises ``StoreUnavailable``."""
        found = await self._store.claimable_runs(now, LOOKED_AT, cannot)
        seen = time.monotonic()
        self._lying = {run.key: self._lying.get(run.key, seen) for run in found}
        return [
            run.key
            for run in found
            if seen - self._lying[run.key] >= PATIENCE or not self.leaves(run.workflow, run.version)
        ]

    @property
    def look_again_in(self) -> float:
        """Seconds until one more run will have lain there for long enough. One that could not be claimed by then can wait."""
        now = time.monotonic()
        left = (since + PATIENCE - now for since in self._lying.values())
        return min((seconds for seconds in left if seconds > 0), default=math.inf)
