"""The store: everything that is remembered, behind verbs of the domain.

What is awaited here never blocks the event loop: writes go through one thread, reads through a few others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, TypeVar

from mcp_workflows.clock import Clock
from mcp_workflows.definition.program import Definition, Json
from mcp_workflows.engine.records import Message, MessageKind, Run, Turn
from mcp_workflows.errors import NodeLost, StoreUnavailable
from mcp_workflows.store import blobs, calls, opening, retention
from mcp_workflows.store.database import Database
from mcp_workflows.store.holdings import Holdings
from mcp_workflows.store.jobs import StartJob, turn_job
from mcp_workflows.store.member import Member
from mcp_workflows.store.reads import of_messages, of_runs
from mcp_workflows.store.rows import to_text
from mcp_workflows.store.starts import Start, Started, plain
from mcp_workflows.store.tables import micros
from mcp_workflows.store.values import (
    Delivered,
    NewRun,
    NodeReport,
    StartResult,
    Tree,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")

LEASE_SECONDS = 15.0


class Store(Member):
    """One process's store, bound to the event loop it was opened on. Made by ``open``.

    Every write raises ``StoreUnavailable`` once the database could not be written for a whole lease, and ``NodeLost`` when
    this node was declared dead or has left. A caller that is cancelled while it waits does not take its write back.
    """

    def __init__(
        self, database: Database, holdings: Holdings, *, clock: Clock, name: str, lease_seconds: float,
        report: NodeReport | None,
    ) -> None:  # fmt: skip
        super().__init__(database, holdings, clock=clock, name=name, lease_seconds=lease_seconds, report=report)
        self._secret_key: bytes | None = None
        self._giving_back: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, *, clock: Clock, node_name: str, lease_seconds: float = LEASE_SECONDS,
        report: NodeReport | None = None,
    ) -> AsyncGenerator[Store]:  # fmt: skip
        """The store at ``url``, brought to this version's schema, with this process as a new node; left at the end.

        ``node_name`` is for people; ``report`` is what the node says of itself from its first moment.

        ``SettingsInvalid``: the database is of no use here, whatever one waits for. ``StoreUnavailable``: it cannot be used
        now. Both say what to do.
        """
        database = opening.database(url)
        holdings = await asyncio.to_thread(opening.prepare, database, node_name, clock, lease_seconds, report)
        store = cls(database, holdings, clock=clock, name=node_name, lease_seconds=lease_seconds, report=report)
        try:
            yield store
        finally:
            await store._close()

    # Definitions

    async def define(self, definition: Definition) -> tuple[int, int]:
        """``(definition_id, version)``. Known content keeps its version, new content gets the next number of its name."""
        return await self._call(
            calls.define(self._database.statements, definition.name, definition.digest, definition.content),
            exclusive=[definition.name],
        )

    # Runs

    async def start(self, new: NewRun, *, max_queued: int | None = None) -> StartResult:
        """The run is durable when this returns. ``KeyConflict``: its idempotency key belongs to a run with other input.
        ``RecordRefused``: the input, or what the run came to at once, cannot be recorded.

        ``Busy``: ``max_queued`` runs have not begun yet, and this one would not either. One that is there already is found.
        """
        holdings = self._writer.holdings
        start = Start(new, holdings.node_id, max_queued)
        future: asyncio.Future[Started] = asyncio.get_running_loop().create_future()
        self._writer.put(StartJob(holdings, future, start, start.size, start.rows))

        def begun(started: Started) -> list[str]:
            return [new.run_id] if start.run.owner is not None and not started.joined else []

        return start.result(await self._owning(future, begun))

    async def record(self, turn: Turn) -> None:
        """Commits ``turn``, whole, in a transaction with whatever else waits. A run's turns are recorded one after the other.

        ``RecordRefused``: this turn, and no other, cannot be recorded. ``NodeLost``: the run is not this node's. A run that
        is finished is released whether the turn says so or not.
        """
        holdings = self._writer.holdings
        key = holdings.runs.get(turn.run_id)
        if key is None:
            raise NodeLost(f"run {turn.run_id} is not this node's")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._writer.put(turn_job(turn, key, holdings, future, self._clock))
        await future

    async def give_back(self, run_id: str) -> None:
        """Lets a claimed run go as it was found, for another node to claim."""
        holdings = self._writer.holdings
        key = holdings.runs.get(run_id)
        if key is None:
            return
        statements = self._database.statements
        await self._call(
            lambda cursor, _now: statements.give_back.run(cursor, run_key=key, me=holdings.node_id),
            committed=lambda _count: holdings.drop(run_id),
            concerns=[run_id],
            notable=lambda _count: True,
        )

    async def claim_runs(
        self, now: datetime, limit: int, cannot: Collection[int], only: Collection[int] | None = None
    ) -> list[Run]:
        """Up to ``limit`` runs that nobody owns and that are due at ``now``, in due order; this node owns them from here on.

        ``cannot``: definitions that this node cannot move. ``only``: of those with these keys. A run that two deaths in a row
        found without progress is a suspect: a node gets one at a time, and the next once that one has recorded something.
        """
        due = micros(now)
        nothing = limit < 1 or (only is not None and not only)
        if nothing or not await self._reads(of_runs.anything_claimable, due, cannot):
            return []
        holdings = self._writer.holdings
        claim = calls.Claim(self._database.statements, holdings, limit, cannot, due, only)

        def committed(rows: list[Any]) -> None:
            for row in rows:
                holdings.take(row)

        rows = await self._owning(self._job(claim, committed=committed), lambda rows: [row.run_id for row in rows])
        return [calls.rows.run(row) for row in rows]

    # Messages

    async def deliver(
        self,
        run_id: str,
        kind: MessageKind,
        body: Mapping[str, Json],
        *,
        actor: str,
        reason: str | None,
        now: datetime,
        dedupe_key: str | None = None,
        taken: bool = False,
        beside: Sequence[Run] = (),
    ) -> Delivered:
        """Puts a message into the inbox, from any process. A run that nobody owns can be claimed then.

        A second message with the same ``dedupe_key`` is the first one. ``taken``: it is for the record alone, and the run
        never sees it. ``UnknownRun``: there is no such run. ``RelativeMoved``: one of ``beside``, runs of its family, does
        not stand any more as it was read, or was told to.
        """
        message: dict[str, Any] = {
            "kind": kind,
            "body": to_text(dict(body)),
            "actor": plain(actor, "actor"),
            "reason": to_text(reason),
            "dedupe_key": plain(dedupe_key, "dedupe_key"),
            "received_at": micros(now),
            "kept": False,
        }
        deliver = calls.Deliver(self._database.statements, run_id, message, taken=taken, beside=beside)
        return await self._call(deliver, notable=lambda delivered: delivered.new, concerns=deliver.concerns)

    async def owned_messages(self) -> list[Message]:
        """What was neither consumed nor kept yet, of the runs that this node owns, in the order in which it was received."""
        return await self._reads(of_messages.owned_messages, self.node_id)

    # Blobs, and what all nodes share

    async def put_blob(self, run_id: str, data: bytes, content_type: str | None) -> str:
        """The blob's id; durable when this returns. The same content is in a run once, under the same id. ``UnknownRun``."""
        which = await asyncio.to_thread(blobs.blob_id, data)
        for put, size in blobs.parts(self._database.statements, run_id, which, data, content_type):
            await self._job(put, size=size)
        return which

    async def secret_key(self) -> bytes:
        """32 random bytes that this database keeps, the same for every node."""
        if self._secret_key is None:
            self._secret_key = await self._call(blobs.secret_key(self._database.statements))
        return self._secret_key

    # What finished long ago

    async def withdraw(self, trees: Sequence[Tree], before: datetime) -> list[Tree]:
        """Those that have still expired are taken out of everybody's sight. Answers with them; ``delete_some`` deletes them."""
        withdraw = retention.Withdraw(self._database.statements, trees, before)
        return await self._call(withdraw, concerns=withdraw.concerns)

    async def delete_some(self) -> int:
        """Deletes a bounded part of what was withdrawn. Answers with the number of rows; none: there is nothing left."""
        return await self._call(retention.delete_some(self._database.statements))

    # Inside

    async def _owning(self, job: asyncio.Future[T], run_ids: Callable[[T], list[str]]) -> T:
        """What ``job`` gives. A caller that is cancelled meanwhile will not move the runs that it got: they are given back."""
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            job.add_done_callback(lambda done: self._abandoned(done, run_ids))
            raise

    def _abandoned(self, job: asyncio.Future[T], run_ids: Callable[[T], list[str]]) -> None:
        if job.cancelled() or job.exception() is not None:
            return
        for run_id in run_ids(job.result()):
            task = asyncio.create_task(self._give_back_abandoned(run_id))
            self._giving_back.add(task)
            task.add_done_callback(self._giving_back.discard)

    async def _give_back_abandoned(self, run_id: str) -> None:
        try:
            await self.give_back(run_id)
        except (StoreUnavailable, NodeLost) as error:
            logger.warning("run %s was not given back, it goes on when this node ends: %s", run_id, error)

    async def _close(self) -> None:
        for task in self._giving_back:
            task.cancel()
        await super()._close()
