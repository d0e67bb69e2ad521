"""This process as a node of the database: its lease and its life, what it says of itself, and the deaths of others."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from mcp_workflows.clock import Clock
from mcp_workflows.errors import NodeLost, StoreUnavailable
from mcp_workflows.store import nodes, opening
from mcp_workflows.store.changes import Changes
from mcp_workflows.store.database import Database
from mcp_workflows.store.holdings import Holdings
from mcp_workflows.store.jobs import CallJob
from mcp_workflows.store.nodes import Dead, Observer
from mcp_workflows.store.prepared import Cursor
from mcp_workflows.store.reader import Reader
from mcp_workflows.store.reads import of_nodes
from mcp_workflows.store.reads.pool import Reads
from mcp_workflows.store.rows import report_text
from mcp_workflows.store.trouble import Trouble
from mcp_workflows.store.values import NodeReport, TakenOver
from mcp_workflows.store.writer import Writer

logger = logging.getLogger(__name__)

T = TypeVar("T")

CLOSING_SECONDS = 1.0
"""How long leaving, and then closing, waits for a database that does not answer: who is told to stop has two seconds.

Nothing is lost by it: a process that could not leave is taken for crashed.
"""
LAST_SECONDS = 0.5
"""How long a thread may take to notice that nobody waits for a server any more."""


class Member(Reader):
    """One incarnation after the other, each with what it holds. Everything is written through its one writer."""

    def __init__(
        self, database: Database, holdings: Holdings, *, clock: Clock, name: str, lease_seconds: float,
        report: NodeReport | None = None,
    ) -> None:  # fmt: skip
        self._trouble = Trouble()
        super().__init__(Reads(database, self._trouble))
        self._database = database
        self._clock = clock
        self._name = name
        self._report = report
        self._lease_seconds = lease_seconds
        self._changes = Changes()
        self._observer = Observer(database, lease_seconds)
        self._upkeep = database.upkeep()
        self._writer = Writer(
            database,
            holdings,
            self._changes,
            self._trouble,
            clock=clock,
            lease_seconds=lease_seconds,
            written=self._upkeep.written,
        )
        self._upkeep.start()
        self._writer.start()

    @property
    def node_id(self) -> str:
        """This incarnation's id; another one after ``rejoin``."""
        return self._writer.holdings.node_id

    @property
    def lease_seconds(self) -> float:
        """Of silence after which others take a node for dead. Who looks more seldom than three times in it sees nothing."""
        return self._lease_seconds

    @property
    def unwell(self) -> str | None:
        """What is wrong with the database, while it cannot be written or read; else ``None``."""
        return self._trouble.text

    @property
    def seconds_since_renewal(self) -> float:
        """Since a commit of this node was begun that took place."""
        return time.monotonic() - self._writer.renewed

    @property
    def stale(self) -> bool:
        """Others may take this node for dead before long: start no attempt until ``beat`` has returned."""
        return self.seconds_since_renewal > self._lease_seconds / 3

    async def beat(self) -> None:
        """Renews the lease, unless a commit did so in the last fifth of it: every commit of this node renews it."""
        if self._writer.holdings.ended:
            raise self._writer.holdings.lost()
        if self.seconds_since_renewal > self._lease_seconds / 5:
            await self._call(lambda _cursor, _now: None)

    async def still_ours(self) -> None:
        """What was read of this node's runs until now was written by it alone. Raises ``NodeLost`` and ``StoreUnavailable``.

        Somebody who stood still between two reads may have read what he owned, and then what its next owner made of it.
        """
        holdings = self._writer.holdings
        if not await self._reads(of_nodes.is_up, holdings.node_id, holdings.last_beat):
            raise holdings.lost()

    async def take_over(self) -> list[TakenOver]:
        """Frees the runs of dead nodes, to be claimed by whoever comes, and counts what the deaths say of them."""
        living = await self._reads(of_nodes.living_nodes)
        dead = await asyncio.to_thread(self._find_dead, living)
        if not dead:
            return []
        statements = self._database.statements
        ended = False
        try:
            taken = await self._call(lambda cursor, now: nodes.take_over(statements, dead, cursor, now), notable=bool)
            ended = True
        finally:
            await asyncio.to_thread(nodes.let_go, dead, ended=ended)
        return taken

    async def leave(self) -> None:
        """A graceful end: what this node owns can be claimed at once. Nothing can be written after it.

        ``StoreUnavailable``: the database did not answer within ``CLOSING_SECONDS``.
        """
        holdings = self._writer.holdings
        if holdings.ended:
            return
        statements = self._database.statements
        try:
            async with asyncio.timeout(CLOSING_SECONDS):
                await self._call(
                    lambda cursor, now: nodes.leave(statements, holdings.node_id, cursor, now),
                    committed=lambda _none: holdings.end(),
                    notable=lambda _none: True,
                    last=True,
                )
        except TimeoutError:
            raise StoreUnavailable(
                self.unwell or f"Another process keeps the database {self._database} locked."
            ) from None
        await asyncio.to_thread(holdings.lock.remove)

    async def rejoin(self) -> None:
        """Starts as a new incarnation, which owns nothing, after ``NodeLost``."""
        old = self._writer.holdings
        holdings = await asyncio.to_thread(
            opening.join, self._database, self._name, self._clock, self._lease_seconds, self._report
        )
        self._writer.holdings = holdings
        self._writer.renewed = time.monotonic()
        await asyncio.to_thread(old.lock.remove)

    async def report(self, report: NodeReport) -> None:
        """What this node says of itself from now on, to be read by ``nodes``; as another incarnation too."""
        statements, me, told = self._database.statements, self.node_id, report_text(report)
        await self._call(lambda cursor, _now: statements.report.run(cursor, me=me, told=told))
        self._report = report

    # What others do

    @property
    def change(self) -> int:
        """Grows when another process commits, or when something that this one committed lets somebody go on."""
        return self._changes.count

    async def wait_for_change(self, since: int) -> int:
        """Until ``change`` is not ``since``; answers with it. Own records alone do not change it."""
        return await self._changes.wait(since)

    # Inside

    def _job(
        self,
        call: Callable[[Cursor, int], T],
        *,
        committed: Callable[[T], None] | None = None,
        notable: Callable[[T], bool] | None = None,
        last: bool = False,
        size: int = 0,
        rows: int = 1,
        concerns: Sequence[str] = (),
        exclusive: Sequence[str] = (),
    ) -> asyncio.Future[T]:
        """Has ``call`` run in the writer's next transaction."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._writer.put(
            CallJob(self._writer.holdings, future, call, committed, notable, last, size, concerns, exclusive, rows=rows)
        )
        return future

    async def _call(
        self,
        call: Callable[[Cursor, int], T],
        *,
        committed: Callable[[T], None] | None = None,
        notable: Callable[[T], bool] | None = None,
        last: bool = False,
        concerns: Sequence[str] = (),
        exclusive: Sequence[str] = (),
    ) -> T:
        return await self._job(
            call, committed=committed, notable=notable, last=last, concerns=concerns, exclusive=exclusive
        )

    def _find_dead(self, living: Sequence[Any]) -> list[Dead]:
        return self._observer.find_dead([row for row in living if row.node_id != self.node_id], time.monotonic())

    async def _close(self) -> None:
        """Leaves, if that was not done, and ends the threads, without waiting for ever."""
        try:
            await self.leave()
        except (StoreUnavailable, NodeLost) as error:
            logger.warning("this node could not leave, others will notice: %s", error)
        await asyncio.to_thread(self._end_threads)

    def _end_threads(self) -> None:
        deadline = time.monotonic() + CLOSING_SECONDS
        for thread in (self._upkeep, self._writer):
            thread.close()
            thread.join(max(0.0, deadline - time.monotonic()))
        self._database.lose_patience()
        self._writer.join(LAST_SECONDS)
        if self._writer.is_alive():
            logger.warning("somebody keeps the database locked; what waits for it ends with this process")
            return
        lock = self._database.lock()
        if lock.acquire_before(deadline):
            self._reads.close()
            lock.release()
        lock.close()
        self._writer.holdings.lock.close()
