"""One node: it claims runs, moves them, tells the others that it lives, and takes over from those that do not.

Everything that keeps a node going is one loop here, ``_tend``: beat, take over from the dead, claim what is due, hand out
messages. It wakes when this process delivers something, when another process committed, and otherwise once a second.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

from mcp_workflows.clock import Clock
from mcp_workflows.definition.program import Definition
from mcp_workflows.engine.bounds import MAX_OUTPUT_BYTES
from mcp_workflows.engine.machine import Decisions, Machine
from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.records import Message, Run, StepRecord, Turn
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.errors import DefinitionInvalid, NodeLost, StoreUnavailable
from mcp_workflows.runtime.abilities import Abilities, Limits
from mcp_workflows.runtime.catalog import Catalog
from mcp_workflows.runtime.children import Children
from mcp_workflows.runtime.loading import load_records_of
from mcp_workflows.runtime.mover import Doer, Mover
from mcp_workflows.runtime.standby import Standby
from mcp_workflows.store import Store

logger = logging.getLogger(__name__)

TICK = 1.0
"""Seconds between two looks at the database when nothing happens; fewer where the lease is short."""
CLAIM = 100
"""Runs claimed at the first of several looks."""
HEAD_START = 0.1
"""Seconds in which those move alone: to claim very many more is one long transaction, and what is recorded waits for it."""
BUILT_AT_ONCE = 500
"""Runs of which machines are built before others get their turn."""
BEGUN_AT_ONCE = 500
"""Runs that begin to move before others get their turn."""
DEFECT = "a defect: see its log"
"""Why a run is left to others that no node may be able to move."""
MAX_RECOVERIES = 3
"""How many nodes a run may take down in a row before it is set aside for a person to look at."""


class Node:
    """Moves the runs that this process owns. Runs that it is not able to move are left to other nodes."""

    def __init__(
        self, store: Store, catalog: Catalog, doer: Doer, *, clock: Clock, abilities: Abilities, limits: Limits,
        max_output_bytes: int = MAX_OUTPUT_BYTES, standby: Standby | None = None,
    ) -> None:  # fmt: skip
        self._store = store
        self._catalog = catalog
        self._doer = doer
        self._children = Children(catalog)
        self._clock = clock
        self._tick = min(TICK, store.lease_seconds / 5)
        """One that hardly ever looked would see no node fall silent."""
        self._abilities = abilities
        self._limits = limits
        self._slots = asyncio.Semaphore(limits.attempts)
        self._max_output_bytes = max_output_bytes
        self._standby = standby
        """``None``: it moves whatever it can, whoever else is up."""
        self._movers: dict[str, Mover] = {}
        self._reserved = 0
        self._behind = False
        """When it last looked, there may have been more to claim than it has room for."""
        self._claimed: dict[str, Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._watches: dict[str, list[Watch]] = {}
        self._stir = asyncio.Event()
        self._watch_again_at = 0.0
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

    def check(self, definition: Definition) -> None:
        """Raises ``SettingsInvalid`` when this node was not given what the definition needs."""
        self._abilities.check(definition)

    def why_not(self, definition: Definition) -> str | None:
        """What keeps this node from moving the definition's runs; ``None``: nothing does."""
        return self._abilities.why_not(definition)

    def stir(self) -> None:
        """Look at the database now: this process has put something there."""
        self._stir.set()

    @contextmanager
    def watching(self, run_id: str) -> Generator[Watch]:
        """Notices, while the block runs, whatever is recorded of the run."""
        watch = Watch()
        self.watch(run_id, watch)
        try:
            yield watch
        finally:
            self.unwatch(run_id, watch)

    def watch(self, run_id: str, watch: Watch) -> None:
        """From now on ``watch``, which may watch others too, notices whatever is recorded of the run."""
        self._watches.setdefault(run_id, []).append(watch)

    def unwatch(self, run_id: str, watch: Watch) -> None:
        watches = self._watches[run_id]
        watches.remove(watch)
        if not watches:
            del self._watches[run_id]

    def begin(self, run: Run, definition: Definition) -> Begun | None:
        """What is decided first of a run that is not recorded yet. ``None``: it cannot be, and its mover finds out why."""
        machine = self._machine(run, definition, ())
        now = self._clock()
        try:
            machine.begin(now)
            return Begun(machine, machine.pump(now))
        except Exception:  # noqa: BLE001  # a defect in deciding is the run's trouble, which is to be there to have it
            return None

    def adopt(self, run: Run, definition: Definition, begun: Begun | None) -> None:
        """Move a run that was just begun here, in a reserved place."""
        self._reserved -= 1
        if self._leaving:
            return  # the store gives it to others, with all else that is this node's
        if begun is None:
            self._move(run, self._machine(run, definition, ()))
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
        self._notify_all()

    async def _tend(self) -> float:
        """Everything once. Answers with the seconds until something is due, at most a tick."""
        now = self._clock()
        await self._store.beat(now)
        await self._watch_others(now)
        await self._look_beside()
        await self._take_claimed()
        self._abilities.look_again()
        await self._abilities.tell(self._store, self._catalog, self._limits)
        if self.served_beside is None:
            await self._claim(now)
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

    async def _watch_others(self, now: datetime) -> None:
        """Take over from those that died, once a tick: death is nothing that anybody tells."""
        at = asyncio.get_running_loop().time()
        if at < self._watch_again_at:
            return
        self._watch_again_at = at + self._tick
        for dead in await self._store.take_over(now):
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
            self._claimed = {run.run_id: run for run in claimed}
            await self._take_claimed()
            if len(claimed) < limit:
                self._behind = False
                break
            if limit == CLAIM:
                await asyncio.sleep(HEAD_START)
            limit = self._limits.runs
        else:
            self._behind = True

    async def _claim_what_others_leave(self, now: datetime) -> None:
        assert self._standby is not None
        self._behind = False
        left = await self._standby.left_lying(now, self._abilities.cannot)
        if left and self._room() > 0 and not self._leaving:
            claimed = await self._store.claim_runs(now, self._room(), self._abilities.cannot, only=left)
            self._claimed = {run.run_id: run for run in claimed}
            await self._take_claimed()

    def _room(self) -> int:
        return self._limits.runs - len(self._movers) - self._reserved

    async def _listen(self) -> None:
        """Other processes' commits: look at what they put there, and let those who watch runs look."""
        seen = self._store.change
        while True:
            seen = await self._store.wait_for_change(seen)
            self._stir.set()
            self._notify_all()

    async def _stirred(self, pause: float) -> None:
        try:
            async with asyncio.timeout(pause):
                await self._stir.wait()
        except TimeoutError:
            pass
        self._stir.clear()

    async def _start_anew(self, lost: NodeLost) -> None:
        logger.error("others took this node for dead and go on with its runs; it starts as a new one: %s", lost)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._claimed.clear()
        try:
            await self._store.rejoin()
        except StoreUnavailable as unwell:  # the next beat finds the node lost again
            logger.warning("this node cannot start anew yet: %s", unwell)

    async def _take_claimed(self) -> None:
        """A claim is not forgotten when the database fails in the middle: the run is this node's, and its alone."""
        while self._claimed and not self._leaving:  # at leaving the store gives them to others, with all else
            await self._take(list(self._claimed.values()))

    async def _take(self, runs: Sequence[Run]) -> None:
        """Begin to move claimed runs, or leave them to nodes that can. All together, as each look costs as much as its way."""
        able = [(run, definition) for run in runs if (definition := await self._definition_of(run)) is not None]
        try:
            records, messages = await asyncio.gather(
                load_records_of(self._store, able), self._messages_of([run for run, _ in able])
            )
            await self._store.still_ours()
        except (NodeLost, StoreUnavailable):
            raise
        except Exception:  # a defect that one run brings to light must not take the others of this node with it
            if len(able) == 1:
                logger.exception("run %s is left to other nodes", able[0][0].run_id)
                await self._leave_to_others(able[0][0], None, DEFECT)
                return
            for run, _ in able:
                await self._take([run])
            return
        machines: list[tuple[Run, Machine]] = []
        for number, ((run, definition), steps) in enumerate(zip(able, records, strict=True), 1):
            machine = await self._rebuilt(run, definition, steps)
            if machine is not None:
                machines.append((run, machine))
            if number % BUILT_AT_ONCE == 0:
                await asyncio.sleep(0)
        # Only now, so that each takes its first step before any of them takes another.
        for number, (run, machine) in enumerate(machines, 1):
            self._begin_again(run, machine, messages.get(run.run_id, ()))
            if number % BEGUN_AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _definition_of(self, run: Run) -> Definition | None:
        """What the run is pinned to; ``None``: this node cannot move it, and has left it to others."""
        definition: Definition | None = None
        try:
            definition = await self._catalog.definition_of(run.definition_id)
            why = self.why_not(definition)
        except (NodeLost, StoreUnavailable):
            raise
        except DefinitionInvalid as invalid:
            why = str(invalid)
        except Exception:
            logger.exception("run %s is left to other nodes", run.run_id)
            await self._leave_to_others(run, None, DEFECT)
            return None
        if why is None:
            return definition
        logger.warning("run %s is left to other nodes: %s", run.run_id, why)
        await self._leave_to_others(run, definition, why)
        return None

    async def _messages_of(self, runs: Sequence[Run]) -> dict[str, list[Message]]:
        found: dict[str, list[Message]] = {}
        for message in await self._store.load_unconsumed([run.run_id for run in runs]):
            found.setdefault(message.run_id, []).append(message)
        return found

    async def _rebuilt(self, run: Run, definition: Definition, steps: Sequence[StepRecord]) -> Machine | None:
        """From its records. A run that has taken down one node after another is set aside."""
        try:
            machine = self._machine(run, definition, steps)
            if run.recoveries > MAX_RECOVERIES and run.record.status is not RunStatus.PAUSED:
                machine.set_aside(_recoveries_error(run), self._clock())
        except Exception:
            logger.exception("run %s is left to other nodes", run.run_id)
            await self._leave_to_others(run, None, DEFECT)
            return None
        return machine

    def _begin_again(self, run: Run, machine: Machine, messages: Sequence[Message]) -> None:
        if self._leaving:
            return
        self._claimed.pop(run.run_id)
        self._move(run, machine)
        self._movers[run.run_id].deliver(messages)  # before its first turn, which may let the run go again

    def _machine(self, run: Run, definition: Definition, steps: Iterable[StepRecord]) -> Machine:
        variables = self._abilities.vars_of(definition)
        return Machine(definition, run, steps, variables=variables, max_output_bytes=self._max_output_bytes)

    async def _leave_to_others(self, run: Run, definition: Definition | None, why: str) -> None:
        self._abilities.leave(run, definition, why)
        await self._store.give_back(run.run_id)
        self._claimed.pop(run.run_id, None)

    def _move(self, run: Run, machine: Machine, decided: Decisions | None = None) -> None:
        mover = Mover(
            run, machine, store=self._store, doer=self._doer, children=self._children, slots=self._slots, clock=self._clock,
            recorded=lambda mover: self._notify(mover.run.run_id, mover.run),
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
            self._notify(mover.run.run_id, mover.run)

    def _made_room(self) -> None:
        if self._room() <= 1:
            self.stir()  # the node was full: what waits for a place can be claimed

    def _notify(self, run_id: str, run: Run | None = None) -> None:
        for watch in self._watches.get(run_id, ()):
            watch.notice(run)

    def _notify_all(self) -> None:
        for run_id in self._watches:
            if run_id not in self._movers:
                self._notify(run_id)


class Begun(NamedTuple):
    """A run that has begun in memory."""

    machine: Machine
    decisions: Decisions

    @property
    def ended(self) -> Turn | None:
        """All that is to be recorded of it, where it only computes and so has come to its end."""
        turn = self.decisions.turn
        done = turn is not None and turn.run is not None and turn.run.status.finished and not self.decisions.rebuild
        return turn if done else None


class Watch:
    """What somebody who waits for a run holds."""

    def __init__(self) -> None:
        self._run: Run | None = None
        self._noticed = asyncio.Event()
        self.heeds: Callable[[Run], bool] = lambda _run: True
        """Whether that the run stands so is worth waking up for."""

    def notice(self, run: Run | None) -> None:
        if run is None or self.heeds(run):
            self._run = run
            self._noticed.set()

    async def news(self) -> Run | None:
        """Until something was recorded: the run as it is since then, or ``None`` when it has to be read."""
        await self._noticed.wait()
        self._noticed.clear()
        return self._run


def _recoveries_error(run: Run) -> StepError:
    return StepError(
        "recoveries",
        f"{run.recoveries} servers died one after the other while they had this run; it was set aside to protect the others",
        in_doubt=True,
        retryable=True,
    )
