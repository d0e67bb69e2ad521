"""Reading just those records of a run that its machine needs: a loop at its thousandth iteration costs a few rows."""

from __future__ import annotations

from mcp_workflows.definition.program import Definition
from mcp_workflows.engine.places import lists_to_undo, lists_wanted
from mcp_workflows.engine.records import Run, StepRecord
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.store import Store


async def load_records(store: Store, run: Run, definition: Definition) -> list[StepRecord]:
    """The records that a machine of this run asks for, list by list from the outermost. Raises ``StoreUnavailable``."""
    undoing = is_undone(run)
    wanted = lists_to_undo if undoing else lists_wanted
    memo: dict[str, StepRecord] = {}
    if undoing:
        memo = {step.path: step for step in await store.load_undoable(run.run_id)}
    loaded: set[str] = set()
    while more := wanted(definition, memo) - loaded:
        loaded |= more
        memo |= {step.path: step for step in await store.load_steps(run.run_id, more)}
    return list(memo.values())


def is_undone(run: Run) -> bool:
    """It is being undone, or that came to an end which leaves something in effect."""
    record = run.record
    return record.status is RunStatus.COMPENSATING or record.compensation == "incomplete"
