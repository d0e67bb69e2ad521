"""From a run as it is recorded to what surfaces see of it: how far it is, and what it needs from outside.

What is asked of the database here does not grow with what a run has done, but for counting, which is the database's work,
and for what a run that stands still or did not complete has done for good.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from mcp_workflows.asking.resuming import once_in_doubt, resumable
from mcp_workflows.asking.waiting import waiting_for
from mcp_workflows.engine.corrections import corrected
from mcp_workflows.engine.places import step_at
from mcp_workflows.engine.records import AT_ONCE, Message, Run
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.engine.undo_plan import lasting_kinds, plan, staying
from mcp_workflows.errors import DefinitionInvalid
from mcp_workflows.runtime.catalog import Catalog
from mcp_workflows.runtime.node import Node
from mcp_workflows.runtime.views import Progress, RunView, TraceMessage
from mcp_workflows.store import Store

_NOT_COMPLETED = frozenset({RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.COMPENSATED})
_GOING_ON = frozenset({RunStatus.PENDING, RunStatus.RUNNING, RunStatus.WAITING, RunStatus.COMPENSATING})

_CHILDREN = 20
"""Of how many children it is looked up what they left: of more than can be named."""
_OF_CHILD = " of "  # no path has a space


class Viewer:
    """Looks at runs of this node and of others."""

    def __init__(self, catalog: Catalog, store: Store, node: Node) -> None:
        self._catalog = catalog
        self._store = store
        self._node = node

    async def view(self, run: Run) -> RunView:
        """All that is told of one run."""
        record = run.record
        view = view_of(run)
        if record.error is not None and record.error.in_doubt and resumable(record):
            view = replace(view, once_in_doubt=await self._once_in_doubt(run))
        if record.status.finished:
            return await self._with_what_stays(view, run) if record.status in _NOT_COMPLETED else view
        view = replace(view, progress=await self._progress(run))
        if run.owner is None and record.status in _GOING_ON:
            view = replace(view, stranded=await self._stranded(run))
        if record.waiting_for:
            definition = await self._catalog.definition_of(run.definition_id)
            rows = {row.path: row for row in await self._store.load_waiting(run.run_id)}
            view = replace(view, waiting_for=waiting_for(definition, rows))
        if record.status is RunStatus.PAUSED:
            definition = await self._catalog.definition_of(run.definition_id)
            rows = {row.path: row for row in await self._store.load_undoable(run.run_id)}
            undone = tuple(undo.path for undo in plan(definition, rows).todo)
            resumed = await self._store.count_messages(run.run_id, "resume")
            failed = step_at(definition, record.error.step) if record.error and record.error.step else None
            skippable = failed is not None and not failed.needed_by
            view = replace(view, would_undo=undone, skippable=skippable, resumed=resumed)
            view = await self._with_what_stays(view, run)
        return view

    async def _with_what_stays(self, view: RunView, run: Run) -> RunView:
        try:
            definition = await self._catalog.definition_of(run.definition_id)
        except DefinitionInvalid:
            return replace(view, stays=None)  # as below: it can be looked at
        kinds = lasting_kinds(definition)
        if not kinds:
            return view
        completed = await self._store.completed_paths(run.run_id, kinds)
        undone = {*view.undone, *(one.path for one in view.not_undone), *view.would_undo}
        stays = await asyncio.to_thread(staying, definition, completed, undone)
        below = await self._what_children_left(run) if definition.children else ()
        return replace(view, stays=None if below is None and not stays else (*stays, *(below or ())))

    async def _what_children_left(self, run: Run) -> tuple[str, ...] | None:
        """Of those that did not complete: what each of them names, with its id. ``None``: none that is known, as above."""
        children = await self._store.load_children(run.run_id, _NOT_COMPLETED, _CHILDREN + 1)
        found: list[str] = []
        known = len(children) <= _CHILDREN
        for child in children[:_CHILDREN]:
            stays = (await self._with_what_stays(view_of(child), child)).stays
            known = known and stays is not None
            found += [step if _OF_CHILD in step else f"{step}{_OF_CHILD}{child.run_id}" for step in stays or ()]
        return tuple(found) if found or known else None

    async def _stranded(self, run: Run) -> str | None:
        """What all nodes that are up lack, each by its own word, to move ``run``; ``None``: one of them may take it."""
        wanted = (run.workflow, run.version)
        lacking = {
            node_id: [unable.why for unable in report.cannot if unable[:2] == wanted]
            for node_id, report in (await self._store.reports()).items()
            if report.max_runs
        }
        if self._node.moves and not lacking.get(self._store.node_id):  # it may not have said so yet
            lacking[self._store.node_id] = await self._lacking_here(run)
        whys = {why for whys in lacking.values() for why in whys}
        return "; ".join(sorted(whys)) if lacking and all(lacking.values()) else None

    async def _lacking_here(self, run: Run) -> list[str]:
        try:
            why = self._node.why_not(await self._catalog.definition_of(run.definition_id))
        except DefinitionInvalid as invalid:
            why = str(invalid)
        return [] if why is None else [why]

    async def _once_in_doubt(self, run: Run) -> bool:
        try:
            definition = await self._catalog.definition_of(run.definition_id)
        except DefinitionInvalid:
            return False  # it can be looked at, but not resumed by this version
        return once_in_doubt(definition, run.record)

    async def _progress(self, run: Run) -> Progress:
        completed = await self._store.count_completed(run.run_id)
        mover = self._node.mover_of(run.run_id)
        if mover is not None:
            return Progress(completed, mover.machine.under_way)
        found = await self._store.open_steps(run.run_id)
        retrying = tuple((path, error.message) for path, error in found if error is not None)
        return Progress(completed, tuple(path for path, _ in found), retrying)


def view_of(run: Run, *, progress: Progress | None = None) -> RunView:
    """What the run's own row tells, as in lists."""
    record = run.record
    return RunView(
        run_id=run.run_id,
        workflow=run.workflow,
        version=run.version,
        status=record.status,
        input=corrected(run.input, record.corrections),
        created_at=run.created_at,
        actor=run.actor,
        progress=progress,
        result=record.output,
        error=record.error,
        compensation=record.compensation,
        undone=record.undone,
        not_undone=record.not_undone,
        wake_at=record.wake_at if record.status is RunStatus.WAITING and record.wake_at != AT_ONCE else None,
        waits=record.waiting_for,
        started_at=record.started_at,
        finished_at=record.finished_at,
        idempotency_key=run.idempotency_key,
        owner=run.owner,
        retry_helps=record.error is not None and record.error.retryable,
    )


def told_of(message: Message) -> TraceMessage:
    """Who asked a run for what."""
    return TraceMessage(message.kind, message.actor, message.received_at, message.reason, message.body)
