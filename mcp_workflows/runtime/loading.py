"""Reading just those records of runs that their machines need: a loop at its thousandth iteration costs a few rows, and a
thousand runs at once cost a few queries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from mcp_workflows.definition.program import Definition
from mcp_workflows.engine.places import lists_to_undo, lists_wanted
from mcp_workflows.engine.records import Run, StepRecord
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.store import Store


async def load_records(store: Store, run: Run, definition: Definition) -> list[StepRecord]:
    """The records that a machine of this run asks for. Raises ``StoreUnavailable``."""
    return (await load_records_of(store, [(run, definition)]))[0]


async def load_records_of(store: Store, runs: Sequence[tuple[Run, Definition]]) -> list[list[StepRecord]]:
    """Of each run the same: list by list from the outermost, all runs together."""
    needs = [_Needs(run, definition) for run, definition in runs]
    undone = [one for one in needs if one.undoing]
    for one, steps in zip(
        undone, await asyncio.gather(*(store.load_undoable(one.run_id) for one in undone)), strict=True
    ):
        one.take(steps)
    incomplete = needs
    while more := {one.run_id: lists for one in incomplete if (lists := one.lists())}:
        incomplete = [one for one in incomplete if one.run_id in more]
        found = await store.load_lists(more)
        for one in incomplete:
            one.take(found[one.run_id])
    return [list(one.memo.values()) for one in needs]


class _Needs:
    """What one run's machine needs, as far as it is known by what was read already."""

    def __init__(self, run: Run, definition: Definition) -> None:
        self.run_id = run.run_id
        self.undoing = is_undone(run)
        self.memo: dict[str, StepRecord] = {}
        self._definition = definition
        self._asked: set[str] = set()

    def lists(self) -> set[str]:
        """Those to be read next; none when everything is there."""
        wanted = (lists_to_undo if self.undoing else lists_wanted)(self._definition, self.memo) - self._asked
        self._asked |= wanted
        return wanted

    def take(self, steps: Iterable[StepRecord]) -> None:
        self.memo |= {step.path: step for step in steps}


def is_undone(run: Run) -> bool:
    """It is being undone, or that came to an end which leaves something in effect."""
    record = run.record
    return record.status is RunStatus.COMPENSATING or record.compensation == "incomplete"
