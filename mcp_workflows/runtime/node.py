"""One node: it claims runs, moves them, tells the others that it lives, and takes over from those that do not.

Everything that keeps a node going is one loop here, ``_tend``: beat, take over from the dead, claim what is due, hand out
messages. It wakes when this process delivers something, when another process committed, and otherwise once a second.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from datetime import datetime

from mcp_workflows.clock import Clock
from mcp_workflows.definition.program import Definition
from mcp_workflows.engine.bounds import MAX_OUTPUT_BYTES
from mcp_workflows.engine.machine import Decisions, Machine
from mcp_workflows.engine.records import Message, Run
from mcp_workflows.errors import NodeLost, StoreUnavailable
from mcp_workflows.runtime.abilities import Abilities, Limits
from mcp_workflows.runtime.catalog import Catalog
from mcp_workflows.runtime.children import Children
from mcp_workflows.runtime.machines import Begun, Machines
from mcp_workflows.runtime.mover import Doer, Mover
from mcp_workflows.runtime.standby import Standby
from mcp_workflows.runtime.taking import Taking
from mcp_workflows.runtime.watching import Watches
from mcp_workflows.steps.gate import Gate
from mcp_workflows.store import Store

logger = logging.getLogger(__name__)

TICK = 1.0
"""Seconds between two looks at the database when nothing happens; fewer where the lease is short."""
CLAIM = 100
"""Runs claimed at the first of several looks."""
HEAD_START = 0.1
"""Seconds in which those move alone: to claim very many more is one long transaction, and what is recorded waits for it."""


class Node:
    """Moves the runs that this process owns. Runs that it is not able to move are left to other nodes."""

    def __init__(
        self, store: Store, catalog: Catalog, doer: Doer, *, clock: Clock, abilities: Abilities, limits: Limits,
        max_output_bytes: int = MAX_OUTPUT_BYTES, standby: Standby | None = None,
    ) -> None:  # fmt: skip
        self.machines = Machines(abilities, clock, max_output_bytes)
        self.watches = Watches()
        self._store = store
        self._catalog = catalog
        self._doer = doer
        self._children = Children(catalog)
        self._clock = clock
        self._tick = min(TICK, store.lease_seconds / 5)
        """One that hardly ever looked would see no node fall silent."""
        self._abilities = abilities
        self._limits = limits
        self._places = Gate(limits.attempts)
        self._standby = standby
        """``None``: it moves whatever it can, whoever else is up."""
        self._movers: dict[str, Mover] = {}
        self._reserved = 0
        self._behind = False
        """When it last looked, there may have been more to claim than it has room for."""
        self._taking = Taking(store, catalog, abilities, self.machines, clock, self._begin_again)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stir = asyncio.Event()
        self._look_again_at = 0.0
        self._leaving = False

    # Used by the facade

    @property
    def leaving(self) -> bool:
        return self._leaving

    @property
    def moves(self) -> bool:
        """It is not there to look alone."""
        return self._limits.runs > 0

    def reserve(self) -> bool:
        """Keep a place for a run that is about to begin here; ``adopt`` or ``unreserve`` it.

        False when the node is full, or others have waited for its next place for longer.
        """
        if self._leaving or self._behind or self._room() < 1:
            return False
        self._reserved += 1
        return True

    def leaves(self, workflow: str, version: int) -> bool:
        """Whether its runs are left to a server over HTTP, which takes them at once."""
        return self._standby is not None and self._standby.leaves(workflow, version)

    @property
    def served_beside(self) -> str | None:
        """Where a server over HTTP can be called to which this one leaves its runs; ``None``: there is none, or this is one."""
        return None if self._standby is None else self._standby.served_at

    def unreserve(self) -> None:
        self._reserved -= 1
        self._made_room()

    def mover_of(self, run_id: str) -> Mover | None:
        return self._movers.get(run_id)

    async def latest(self, run: Run) -> Run:
        """The same run as it was last recorded, from memory where it is moved here. Raises ``StoreUnavailable``."""
        mover = self._movers.get(run.run_id)
        if mover is not None:
            return mover.run
        return await self._store.load_run(run.run_id) or run

    def check(self, definition: Definition) -> None:
        """Raises ``SettingsInvalid`` when this node was not given what the definition needs."""
        self._abilities.check(definition)

    def why_not(self, definition: Definition) -> str | None:
        """What keeps this node from moving the definition's runs; ``None``: nothing does."""
        return self._abilities.why_not(definition)

    def stir(self) -> None:
        """Look at the database now: this process has put something there."""
        self._stir.set()

    def adopt(self, run: Run, definition: Definition, begun: Begun | None) -> None:
        """Move a run that was just begun here, in a reserved place."""
        self._reserved -= 1
        if self._leaving:
            return  # the store gives it to others, with all else that is this node's
        if begun is None:
            self._move(run, self.machines.of(run, definition))
        else:
            self._move(run, begun.machine, begun.decisions)

    # Its life

    async def run(self) -> None:
        """Until ``leave``. A node that was declared dead drops what it holds and starts as a new incarnation."""
        listener = asyncio.create_task(self._listen())
        try:
            while not self._leaving:
                pause = self._tick
                try:
                    pause = await self._tend()
                except NodeLost as lost:
                    if not self._leaving:  # to have left is to be lost as well
                        await self._start_anew(lost)
                except StoreUnavailable as unwell:
                    logger.debug(
                        "nothing is tended to while the database is unwell: %s", unwell
                    )  # which the store has said
                await self._stirred(pause)
        finally:
            listener.cancel()

    async def leave(self, grace: float = 1.0) -> None:
        """Stop claiming, give what is in flight ``grace`` seconds, hand the rest to whoever comes."""
        self._leaving = True
        self._taking.stop()
        self._stir.set()
        for mover in self._movers.values():
            mover.halt()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await self._store.leave()
        except (StoreUnavailable, NodeLost) as unwell:
            logger.warning("this node could not sign off, others will notice: %s", unwell)
        self.watches.notify_all(but=self._movers)

    async def _tend(self) -> float:
        """Everything once. Answers with the seconds until something is due, at most a tick."""
        now = self._clock()
        await self._store.beat()
        await self._look_for_the_dead()
        await self._look_beside()
        await self._taking.take()
        self._abilities.look_again()
        await self._abilities.tell(self._store, self._catalog)
        if self.served_beside is None:
            await self._claim(now)
            await self._claim_what_ends(now)
        else:
            await self._claim_what_others_leave(now)
        for message in await self._store.owned_messages():
            mover = self._movers.get(message.run_id)
            if mover is not None:
                mover.deliver([message])
        return min(await self._due_in(now), self._tick)

    async def _due_in(self, now: datetime) -> float:
        """Seconds until something can be claimed, as far as is known."""
        if self._room() < 1:
            return math.inf
        if self._standby is not None and self._standby.served_at is not None:
            return self._standby.look_again_in
        due_at = await self._store.next_claim(now)
        return math.inf if due_at is None else max((due_at - self._clock()).total_seconds(), 0.0)

    async def _look_beside(self) -> None:
        """Once a server over HTTP comes, runs go on there: what is in flight here ends here, and no more is begun."""
        if self._standby is None or not await self._standby.look():
            return
        for mover in self._movers.values():
            if self._standby.leaves(mover.run.workflow, mover.run.version):
                mover.halt()

    async def _look_for_the_dead(self) -> None:
        """Take over from those that died, once a tick: death is nothing that anybody tells."""
        at = asyncio.get_running_loop().time()
        if at < self._look_again_at:
            return
        self._look_again_at = at + self._tick
        for dead in await self._store.take_over():
            level = logging.WARNING if dead.runs else logging.INFO
            logger.log(level, "%s died (node %s), its runs go on: %d", dead.name, dead.node_id, dead.runs)

    async def _claim(self, now: datetime) -> None:
        """All that is due and finds room: a few at first, so that they begin at once, then the rest.

        The rest is read before any of it moves: a database is read slowly beside very many runs that move.
        """
        limit = CLAIM
        while not self._leaving and self._room() > 0:
            limit = min(limit, self._room())
            claimed = await self._store.claim_runs(now, limit, self._abilities.cannot)
            self._taking.add(claimed)
            await self._taking.take()
            if len(claimed) < limit:
                self._behind = False
                break
            if limit == CLAIM:
                await asyncio.sleep(HEAD_START)
            limit = self._limits.runs
        else:
            self._behind = True

    async def _claim_what_ends(self, now: datetime) -> None:
        """Runs that cannot go on here, and that somebody wants ended: for want of an address nobody has to wait with that."""
        cannot = self._abilities.cannot
        if not cannot or self._room() < 1 or self._leaving:
            return
        ending = await self._store.ending_runs(now, self._room(), cannot)
        keys = [run.key for run in ending if self._abilities.can_end(run.definition_id, begun=run.begun)]
        if keys:
            self._taking.add(await self._store.claim_runs(now, self._room(), (), only=keys), to_end=True)
            await self._taking.take()

    async def _claim_what_others_leave(self, now: datetime) -> None:
        assert self._standby is not None
        self._behind = False
        left = await self._standby.left_lying(now, self._abilities.cannot)
        if left and self._room() > 0 and not self._leaving:
            claimed = await self._store.claim_runs(now, self._room(), self._abilities.cannot, only=left)
            self._taking.add(claimed)
            await self._taking.take()

    def _room(self) -> int:
        return self._limits.runs - len(self._movers) - self._reserved

    async def _listen(self) -> None:
        """Other processes' commits: look at what they put there, and let those who watch runs look."""
        seen = self._store.change
        while True:
            seen = await self._store.wait_for_change(seen)
            self._stir.set()
            self.watches.notify_all(but=self._movers)

    async def _stirred(self, pause: float) -> None:
        try:
            async with asyncio.timeout(pause):
                await self._stir.wait()
        except TimeoutError:
            pass
        self._stir.clear()

    async def _start_anew(self, lost: NodeLost) -> None:
        logger.error("this node owns nothing any more, its runs go on elsewhere; it starts as a new one: %s", lost)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._taking.forget()
        try:
            await self._store.rejoin()
        except StoreUnavailable as unwell:  # the next beat finds the node lost again
            logger.warning("this node cannot start anew yet: %s", unwell)

    def _begin_again(self, run: Run, machine: Machine, messages: Sequence[Message]) -> None:
        self._move(run, machine)
        self._movers[run.run_id].deliver(messages)  # before its first turn, which may let the run go again

    def _move(self, run: Run, machine: Machine, decided: Decisions | None = None) -> None:
        mover = Mover(
            run, machine, store=self._store, doer=self._doer, children=self._children, places=self._places, clock=self._clock,
            recorded=self.watches.notify,
        )  # fmt: skip
        self._movers[run.run_id] = mover
        task = asyncio.create_task(self._keep_moving(mover, decided))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep_moving(self, mover: Mover, decided: Decisions | None) -> None:
        try:
            await mover.move(decided)
        finally:
            if self._movers.get(mover.run.run_id) is mover:
                del self._movers[mover.run.run_id]
            self._made_room()
            self.watches.notify(mover.run)

    def _made_room(self) -> None:
        if self._room() <= 1:
            self.stir()  # the node was full: what waits for a place can be claimed
