"""Resuming a run of a family: what a failed child was brought to since its parent failed with it, and who waits for it still.

A person may resume the child or its parent. Whichever comes second must not do what the first has done: a child that completed
since is not started a second time, and one that its parent has gone on without is not brought to an effect nobody undoes.
"""

from __future__ import annotations

from collections.abc import Mapping

from mcp_workflows.definition.program import Json
from mcp_workflows.engine.frames.child import child_of
from mcp_workflows.engine.paths import parent_of
from mcp_workflows.engine.records import Run
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.errors import RunRefused
from mcp_workflows.store import Store


async def given_since(store: Store, run: Run, children: Mapping[str, str]) -> dict[str, Json]:
    """By path, what those of the failed ``children`` gave that have completed since.

    ``children`` are run ids by path, of steps that are to be opened anew. Raises ``RunRefused`` and ``StoreUnavailable``.
    """
    found: dict[str, Json] = {}
    for path, run_id in children.items():
        child = await store.load_run(run_id)
        if child is None:
            continue
        if child.record.status is RunStatus.COMPLETED:
            found[path] = child.record.output
        elif not child.record.status.finished:
            raise RunRefused(
                f"{run.run_id} was not touched: {run_id}, which failed at {path}, has been resumed itself and is "
                f"{child.record.status}. When it has completed, resume {run.run_id}, and it goes on with its result."
            )
    return found


async def check_none_completed(store: Store, run: Run, children: Mapping[str, str]) -> None:
    """Before undoing: no child completed that counts as failed, so that nothing would undo it. Raises as ``given_since``."""
    for path in await given_since(store, run, children):
        raise RunRefused(
            f"{run.run_id} was not cancelled: {children[path]}, which failed at {path}, has been resumed and completed since. "
            f"Resume {run.run_id} first, so that it takes the result; what it then cancels is undone with all the rest."
        )


async def check_waited_for(store: Store, run: Run) -> None:
    """Of a child that failed: its parent still stands where it failed with it. Raises ``RunRefused``, ``StoreUnavailable``."""
    if run.parent is None or run.record.status is not RunStatus.FAILED or run.record.compensation != "none":
        return
    parent = await store.load_run(run.parent.run_id)
    if parent is not None and _stands_still(parent):
        rows = await store.load_steps(parent.run_id, [parent_of(run.parent.path)])
        step = next((row for row in rows if row.path == run.parent.path), None)
        if step is not None and step.error is not None and child_of(step) == run.run_id:
            return
    raise RunRefused(
        f"{run.run_id} was not resumed: {run.parent.run_id}, which started it, has gone on without it, and would neither "
        "use nor undo what it does."
    )


def _stands_still(parent: Run) -> bool:
    record = parent.record
    return record.status is RunStatus.PAUSED or (record.status is RunStatus.FAILED and record.compensation == "none")
