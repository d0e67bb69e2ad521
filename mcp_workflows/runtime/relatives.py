"""Resuming a run of a family: what a failed child was brought to since its parent failed with it, and who waits for it still.

A person may resume the child or its parent. Whichever comes second must not do what the first has done: a child that completed
since is not started a second time, and one that its parent has gone on without is not brought to an effect nobody undoes.

What is decided here holds of the relatives as they were read. The message that comes of it is put into the inbox only if they
stand so still, which the store looks at in the same transaction: of two people who ask at once, one is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mcp_workflows.definition.program import Json
from mcp_workflows.engine.frames.child import child_of
from mcp_workflows.engine.paths import parent_of
from mcp_workflows.engine.records import Run, RunRecord
from mcp_workflows.engine.resuming import failed_children
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.errors import RunRefused
from mcp_workflows.runtime.catalog import Catalog
from mcp_workflows.runtime.loading import load_records
from mcp_workflows.store import Store


class Relatives:
    """Of runs that are about to be resumed or cancelled. Every method raises ``RunRefused`` and ``StoreUnavailable``."""

    def __init__(self, catalog: Catalog, store: Store) -> None:
        self._catalog = catalog
        self._store = store

    async def below(self, run: Run, children: Mapping[str, str]) -> tuple[dict[str, Json], Sequence[Run]]:
        """By path, what those of the failed ``children`` gave that have completed since; and all that were looked at.

        ``children`` are run ids by path, of steps of ``run`` that are to be opened anew. A child that is to be begun anew
        begins all below it anew, so nothing below it may have gone on by itself.
        """
        given: dict[str, Json] = {}
        seen: list[Run] = []
        for path, run_id in children.items():
            child = await self._store.load_run(run_id)
            if child is None:
                continue
            seen.append(child)
            if child.record.status is RunStatus.COMPLETED:
                given[path] = child.record.output
            elif not child.record.status.finished:
                raise RunRefused(
                    f"{run.run_id} was not touched: {run_id}, which failed at {path}, has been resumed itself and is "
                    f"{child.record.status}. When it has completed, resume {run.run_id}, and it goes on with its result."
                )
            elif _left_as_it_was(child.record):
                seen += await self.none_completed(child, await self._failed_children(child))
        return given, seen

    async def none_completed(self, run: Run, children: Mapping[str, str]) -> Sequence[Run]:
        """No child completed that ``run`` counts as failed, so that nobody would take its result or undo it: all looked at."""
        given, seen = await self.below(run, children)
        for path in given:
            raise RunRefused(
                f"{run.run_id} was not touched: {children[path]}, which failed at {path}, has been resumed and completed "
                f"since. Resume {run.run_id} first, so that it takes the result; what is cancelled then is undone with all "
                "the rest."
            )
        return seen

    async def above(self, run: Run) -> Sequence[Run]:
        """The runs that stand where they failed with ``run``, each with the one before it; none of what is no failed child."""
        seen: list[Run] = []
        child = run
        while child.parent is not None and _left_as_it_was(child.record):
            parent = await self._store.load_run(child.parent.run_id)
            if parent is None or not await self._waits_for(parent, child):
                which = "it" if child is run else child.run_id
                raise RunRefused(
                    f"{run.run_id} was not resumed: {child.parent.run_id}, which started {which}, has gone on without it, "
                    "and would neither use nor undo what it does."
                )
            seen.append(parent)
            child = parent
        return seen

    async def _waits_for(self, parent: Run, child: Run) -> bool:
        assert child.parent is not None
        if parent.record.status is not RunStatus.PAUSED and not _left_as_it_was(parent.record):
            return False
        rows = await self._store.load_steps(parent.run_id, [parent_of(child.parent.path)])
        step = next((row for row in rows if row.path == child.parent.path), None)
        return step is not None and step.error is not None and child_of(step) == child.run_id

    async def _failed_children(self, run: Run) -> Mapping[str, str]:
        definition = await self._catalog.definition_of(run.definition_id)
        rows = {row.path: row for row in await load_records(self._store, run, definition)}
        return failed_children(run.record, definition, rows, {})


def _left_as_it_was(record: RunRecord) -> bool:
    """It failed and nothing of it was undone, so it may be resumed."""
    return record.status is RunStatus.FAILED and record.compensation == "none"
