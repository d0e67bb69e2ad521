"""Nodes that record without end while something happens to their database, and what they are held to afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from mcp_workflows.engine.records import Turn
from mcp_workflows.errors import StoreUnavailable
from mcp_workflows.store import Store
from tests.store.material import begin, done

BOUND = 60.0


class Recording:
    """Runs of ``store``, with the numbers of the steps that were said to be recorded."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.runs: dict[str, list[int]] = {}
        self.enough = asyncio.Event()

    @property
    def count(self) -> int:
        return sum(map(len, self.runs.values()))

    async def more(self, count: int = 100) -> None:
        """Until ``count`` more steps are recorded."""
        before = self.count
        async with asyncio.timeout(BOUND):
            while self.count < before + count:  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def keep(self) -> None:
        """One step after the other in each run, each again for as long as the database is unwell."""
        await asyncio.gather(*map(self._keep, self.runs))

    async def _keep(self, run_id: str) -> None:
        seen = self.runs[run_id]
        while not self.enough.is_set():
            number = len(seen)
            try:
                await self._store.record(Turn(run_id, [done(f"s{number}", number, {"n": number})]))
            except StoreUnavailable:
                continue
            seen.append(number)


@asynccontextmanager
async def recording(store: Store, *, runs: int = 20) -> AsyncGenerator[Recording]:
    """While the block runs, and a little longer. At its end every step is there once."""
    recording = Recording(store)
    for _ in range(runs):
        recording.runs[await begin(store)] = []
    busy = asyncio.create_task(recording.keep())
    try:
        await recording.more()
        yield recording
        await recording.more()
    finally:
        recording.enough.set()
        await busy
    for run_id, seen in recording.runs.items():
        steps = await store.load_steps(run_id)
        assert [(step.path, step.output) for step in steps] == [(f"s{number}", {"n": number}) for number in seen]


async def unwell(store: Store, what: str = "") -> str:
    """What is wrong, once ``what`` is."""
    async with asyncio.timeout(BOUND):
        while (said := store.unwell) is None or what not in said:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return said
