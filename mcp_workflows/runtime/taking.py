"""From claimed runs to machines, many at a time; and leaving to other nodes those that this one cannot move."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from mcp_workflows.clock import Clock
from mcp_workflows.definition.program import Definition
from mcp_workflows.engine.machine import Machine
from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.records import Message, Run, StepRecord
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.errors import DefinitionInvalid, NodeLost, StoreUnavailable
from mcp_workflows.runtime.abilities import Abilities
from mcp_workflows.runtime.catalog import Catalog
from mcp_workflows.runtime.loading import load_records_of
from mcp_workflows.runtime.machines import Machines
from mcp_workflows.store import Store

logger = logging.getLogger(__name__)

BUILT_AT_ONCE = 500
"""Runs of which machines are built before others get their turn."""
BEGUN_AT_ONCE = 500
"""Runs that begin to move before others get their turn."""
DEFECT = "a defect: see its log"
"""Why a run is left to others that no node may be able to move."""
MAX_RECOVERIES = 3
"""How many nodes a run may take down in a row before it is set aside for a person to look at."""

Move: TypeAlias = Callable[[Run, Machine, Sequence[Message]], None]
"""Begins to move a run, to which these messages were sent."""


class Taking:
    """The runs that were claimed and do not move yet.

    None is forgotten when the database fails in the middle: a claimed run is this node's, and its alone.
    """

    def __init__(
        self, store: Store, catalog: Catalog, abilities: Abilities, machines: Machines, clock: Clock, move: Move
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._abilities = abilities
        self._machines = machines
        self._clock = clock
        self._move = move
        self._claimed: dict[str, Run] = {}
        self._to_end: set[str] = set()
        self._stopped = False

    def add(self, claimed: Iterable[Run], *, to_end: bool = False) -> None:
        """``to_end``: they end here, whatever else this node lacks."""
        self._claimed |= {run.run_id: run for run in claimed}
        if to_end:
            self._to_end |= {run.run_id for run in claimed}

    def forget(self) -> None:
        """They are this node's no more."""
        self._claimed.clear()
        self._to_end.clear()

    def stop(self) -> None:
        """Take none any more: at leaving the store gives them to others, with all else."""
        self._stopped = True

    async def take(self) -> None:
        """Begin to move all of them, or leave them to others. Raises ``NodeLost`` and ``StoreUnavailable``; then again."""
        while self._claimed and not self._stopped:
            await self._take(list(self._claimed.values()))

    async def _take(self, runs: Sequence[Run]) -> None:
        """All together, as each look costs as much as its way."""
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
            if not self._stopped:
                self._forget(run)
                self._move(run, machine, messages.get(run.run_id, ()))
            if number % BEGUN_AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _definition_of(self, run: Run) -> Definition | None:
        """What the run is pinned to; ``None``: this node cannot move it, and has left it to others."""
        definition: Definition | None = None
        try:
            definition = await self._catalog.definition_of(run.definition_id)
            why = self._abilities.why_not(definition)
        except (NodeLost, StoreUnavailable):
            raise
        except DefinitionInvalid as invalid:
            why = str(invalid)
        except Exception:
            logger.exception("run %s is left to other nodes", run.run_id)
            await self._leave_to_others(run, None, DEFECT)
            return None
        begun = run.record.status is not RunStatus.PENDING
        if why is None or (run.run_id in self._to_end and self._abilities.can_end(run.definition_id, begun=begun)):
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
            machine = self._machines.of(run, definition, steps)
            if run.recoveries > MAX_RECOVERIES and run.record.status is not RunStatus.PAUSED:
                machine.set_aside(_recoveries_error(run), self._clock())
        except Exception:
            logger.exception("run %s is left to other nodes", run.run_id)
            await self._leave_to_others(run, None, DEFECT)
            return None
        return machine

    async def _leave_to_others(self, run: Run, definition: Definition | None, why: str) -> None:
        self._abilities.leave(run, definition, why)
        await self._store.give_back(run.run_id)
        self._forget(run)

    def _forget(self, run: Run) -> None:
        self._claimed.pop(run.run_id, None)
        self._to_end.discard(run.run_id)


def _recoveries_error(run: Run) -> StepError:
    return StepError(
        "recoveries",
        f"{run.recoveries} servers died one after the other while they had this run; it was set aside to protect the others",
        in_doubt=True,
        retryable=True,
    )
