"""What surfaces may ask of runs: start, get, wait, list, resume, cancel, trace. The only way in.

Every method takes the ``actor`` who asks. ``None`` stands for the person at the terminal, who sees all runs.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from mcp_workflows.clock import Clock, new_id
from mcp_workflows.definition.input_schema import validate_input
from mcp_workflows.definition.program import Definition, HttpWork, Json
from mcp_workflows.engine import moves
from mcp_workflows.engine.corrections import composed, corrected
from mcp_workflows.engine.records import MessageKind, Run, RunRecord, StepRecord
from mcp_workflows.engine.states import RunStatus, StepStatus
from mcp_workflows.engine.undo import SUFFIX, plan
from mcp_workflows.errors import InputRefused, RunRefused, SettingsInvalid, Stopping, UnknownRun
from mcp_workflows.runtime.catalog import Catalog, Served
from mcp_workflows.runtime.node import Node
from mcp_workflows.runtime.views import Progress, RunPage, RunQuery, RunView, Trace, TraceMessage
from mcp_workflows.steps import refuse_correction
from mcp_workflows.store import NewRun, Store

OnProgress = Callable[[RunView], Awaitable[None]]

PREFIX = 8
"""Characters after ``r_`` that a shortened run id needs at least."""
SETTLING = 10.0
"""Seconds that ``resume`` and ``cancel`` wait for the run's owner to take the message in."""


class Runs:
    """The facade over catalog, store and node."""

    def __init__(self, catalog: Catalog, store: Store, node: Node, clock: Clock) -> None:
        self.catalog = catalog
        self._store = store
        self._node = node
        self._clock = clock

    @property
    def unwell(self) -> str | None:
        """What is wrong with the database, while it cannot be written; else ``None``."""
        return self._store.unwell

    async def start(self, workflow: str, arguments: Json, *, actor: str, idempotency_key: str | None = None) -> RunView:
        """Start a run, or join the one that an earlier call like this started. It is durable when this returns.

        Raises ``UnknownWorkflow``, ``InputRefused``, ``KeyConflict``, ``Stopping``, ``StoreUnavailable``.
        """
        served = self.catalog.serving(workflow)
        if self._node.leaving:
            raise Stopping("The service is stopping; no run was started. Call again in a few seconds.")
        definition = served.definition
        try:
            self._node.check(definition)
        except SettingsInvalid as unable:
            raise RunRefused(f"No run was started: {unable}.") from None
        value = validate_input(definition, arguments)
        own = self._node.reserve()
        try:
            started = await self._store.start(self._new_run(served, value, actor, idempotency_key, own=own))
            if own and not started.joined:
                self._node.adopt(started.run, definition)
                own = False
        finally:
            if own:
                self._node.unreserve()
        if started.joined:
            return replace(await self._view(started.run), joined=True)
        return await self._view(started.run)

    async def get(self, run_id: str, *, actor: str | None) -> RunView:
        """The run as it stands. Raises ``UnknownRun``."""
        return await self._view(await self._run(run_id, actor))

    async def wait(
        self, run_id: str, *, actor: str | None, seconds: float, on_progress: OnProgress | None = None
    ) -> RunView:
        """The run once it has ended or paused, or as it stands after ``seconds``. Raises ``UnknownRun``."""
        run = await self._run(run_id, actor)
        with self._node.watching(run.run_id) as watch:
            run = await self._now(run)  # it may have ended just before it was watched
            try:
                async with asyncio.timeout(seconds):
                    while not _needs_no_waiting(run):
                        run = await watch.news() or await self._now(run)
                        if on_progress is not None and not _needs_no_waiting(run):
                            await on_progress(await self._view(run))
            except TimeoutError:
                run = await self._now(run)
        return await self._view(run)

    async def list(self, query: RunQuery) -> RunPage:
        """A page of runs, newest first."""
        page = await self._store.list_runs(query)
        return RunPage([_view_of(run) for run in page.runs], page.next_cursor)

    async def resume(
        self, run_id: str, *, actor: str | None, correction: Mapping[str, Any], reason: str | None = None
    ) -> RunView:
        """Go on from the failed step, as corrected. Raises ``RunRefused``, ``InputRefused``, ``UnknownRun``."""
        run = await self._run(run_id, actor)
        definition = await self.catalog.definition_of(run.definition_id)
        await self._check_resume(run, definition, correction)
        return await self._deliver(run, "resume", correction, actor, reason)

    async def cancel(
        self, run_id: str, *, actor: str | None, compensate: bool = True, reason: str | None = None
    ) -> RunView:
        """Stop a run and undo its completed steps. Of a run that has ended it is no error. Raises ``UnknownRun``."""
        run = await self._run(run_id, actor)
        if run.record.status.finished or run.record.status is RunStatus.COMPENSATING:
            return await self._view(run)
        return await self._deliver(run, "cancel", {"compensate": compensate}, actor, reason)

    async def trace(self, run_id: str, *, actor: str | None) -> Trace:
        """Everything that is recorded of a run. Raises ``UnknownRun``."""
        run = await self._run(run_id, actor)
        steps = await self._store.load_steps(run.run_id)
        attempts = await self._store.load_attempts(run.run_id)
        messages = await self._store.load_messages(run.run_id, unconsumed_only=False)
        view = await self._view(run)
        told = [TraceMessage(m.kind, m.actor, m.received_at, m.reason, m.body) for m in messages]
        return Trace(view, steps, attempts, told)

    def _new_run(self, served: Served, value: Json, actor: str, idempotency_key: str | None, *, own: bool) -> NewRun:
        now = self._clock()
        definition = served.definition
        return NewRun(
            run_id=new_id("r_"),
            workflow=definition.name,
            version=served.version,
            definition_id=served.definition_id,
            input=value,
            actor=actor,
            created_at=now,
            idempotency_key=idempotency_key,
            join_key=None if idempotency_key else _join_key(definition, value, actor),
            join_since=now - timedelta(seconds=definition.mcp.join) if isinstance(definition.mcp.join, float) else None,
            record=moves.started(definition, now) if own else RunRecord(RunStatus.PENDING, wake_at=now),
            own=own,
        )

    async def _run(self, run_id: str, actor: str | None) -> Run:
        """By id, or by the beginning of one of the actor's own. A foreign run is as unknown as an absent one."""
        mover = self._node.mover_of(run_id)
        run = mover.run if mover else await self._store.load_run(run_id)
        if run is None and len(run_id) >= len("r_") + PREFIX:
            candidates = await self._store.find_runs(run_id, actor)
            if len(candidates) == 1:
                run = await self._store.load_run(candidates[0])
        if run is None or (actor is not None and run.actor != actor):
            raise UnknownRun(f"No run {run_id} that you may see.")
        return run

    async def _now(self, run: Run) -> Run:
        """The same run as it was last recorded, from this node's memory where it is moved here."""
        mover = self._node.mover_of(run.run_id)
        if mover is not None:
            return mover.run
        return await self._store.load_run(run.run_id) or run

    async def _view(self, run: Run) -> RunView:
        mover = self._node.mover_of(run.run_id)
        if mover is not None:
            machine = mover.machine
            return _view_of(run, Progress(_completed(machine.memo), machine.under_way))
        if run.record.status is RunStatus.COMPLETED:
            return _view_of(run)
        steps = {step.path: step for step in await self._store.load_steps(run.run_id)}
        view = _view_of(run, Progress(_completed(steps), _under_way(steps)))
        if run.record.status is RunStatus.PAUSED:
            definition = await self.catalog.definition_of(run.definition_id)
            view = replace(view, would_undo=tuple(undo.path for undo in plan(definition, steps).todo))
        return view

    async def _check_resume(self, run: Run, definition: Definition, correction: Mapping[str, Any]) -> None:
        record = run.record
        undoing = record.status is RunStatus.FAILED and record.compensation == "incomplete"
        forward = record.status is RunStatus.PAUSED or (
            record.status is RunStatus.FAILED and record.compensation == "none"
        )
        if not (undoing or forward):
            raise RunRefused(_why_not_resumed(run))
        given = [key for key in ("request", "skip", "again") if correction.get(key)]
        given += ["output"] if "output" in correction else []  # null is an output too
        if len(given) > 1:
            raise RunRefused(f"{run.run_id} was not resumed: give only one of {', '.join(given)}.")
        if correction.get("input") is not None:
            merged = corrected(run.input, composed(record.corrections, correction["input"]))
            try:
                validate_input(definition, merged)
            except InputRefused as refused:
                raise InputRefused(f"Input refused, {run.run_id} was not resumed. {refused}") from None
        steps = {step.path: step for step in await self._store.load_steps(run.run_id)}
        self._check_step(run, definition, steps, given[0] if given else None)
        self._check_request(run, definition, correction.get("request"))

    def _check_request(self, run: Run, definition: Definition, request: Json) -> None:
        """What of a request may be corrected: never where it goes to, nor as whom."""
        path = run.record.error.step if run.record.error else None
        step = next((step for step in definition.steps if step.name == path), None)
        if request is None or step is None:
            return
        if not isinstance(step.work, HttpWork):
            raise RunRefused(f"{run.run_id} was not resumed: {path} makes no request that could be corrected.")
        if refused := refuse_correction(step.work, request):
            raise InputRefused(f"{run.run_id} was not resumed. {refused}.")

    def _check_step(self, run: Run, definition: Definition, steps: Mapping[str, StepRecord], given: str | None) -> None:
        """What the failed step allows."""
        path = run.record.error.step if run.record.error else None
        if run.record.compensation == "incomplete":
            path = next((p for p, step in steps.items() if SUFFIX in p and step.status in _FAILED), None)
        failed = steps.get(path) if path else None
        step = next((step for step in definition.steps if step.name == path), None)
        if failed is None and given:
            raise RunRefused(f"{run.run_id} was not resumed: no step of it failed, so there is no {given} to correct.")
        if given == "skip" and step is not None and step.needed_by:
            raise RunRefused(
                f"{run.run_id} was not resumed: {path} cannot be skipped, its output is read at {', '.join(step.needed_by)}. "
                "Give output instead."
            )
        in_doubt_once = step is not None and step.at_most_once and failed is not None and failed.in_doubt
        if given == "again" and not in_doubt_once:
            raise RunRefused(
                f"{run.run_id} was not resumed: again is only for a step that must run at most once and was cut off. "
                "Resume without it."
            )
        if in_doubt_once and given not in ("output", "again", "skip"):
            raise RunRefused(
                f"{run.run_id} was not resumed: {path} must run at most once and it is unknown whether it took place. "
                "Find out, then give output (it took place) or again: true (make it again); otherwise cancel_run."
            )

    async def _deliver(
        self, run: Run, kind: MessageKind, body: Mapping[str, Any], actor: str | None, reason: str | None
    ) -> RunView:
        """Put a message into the inbox and wait until the run's owner, whoever that is, has taken it in."""
        with self._node.watching(run.run_id) as watch:
            message_id, _new = await self._store.deliver(
                run.run_id, kind, body, actor=actor or "local", reason=reason, now=self._clock()
            )
            self._node.stir()
            try:
                async with asyncio.timeout(SETTLING):
                    while not await self._store.consumed(message_id):
                        await watch.news()
            except TimeoutError:
                pass  # it is in the inbox; whoever moves the run next takes it in
        return await self._view(await self._now(run))


_FAILED = frozenset({StepStatus.FAILED, StepStatus.IN_DOUBT})


def _view_of(run: Run, progress: Progress | None = None) -> RunView:
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
        wake_at=record.wake_at if record.status is RunStatus.WAITING else None,
        started_at=record.started_at,
        finished_at=record.finished_at,
        idempotency_key=run.idempotency_key,
        owner=run.owner,
        retry_helps=record.error is not None and record.error.retryable,
    )


def _needs_no_waiting(run: Run) -> bool:
    return run.record.status.finished or run.record.status is RunStatus.PAUSED


def _completed(steps: Mapping[str, StepRecord]) -> int:
    return sum(1 for path, step in steps.items() if step.status is StepStatus.COMPLETED and SUFFIX not in path)


def _under_way(steps: Mapping[str, StepRecord]) -> tuple[str, ...]:
    return tuple(path for path, step in steps.items() if not step.status.settled)


def _join_key(definition: Definition, value: Json, actor: str) -> str | None:
    if definition.mcp.join == "off" or definition.read_only:
        return None
    text = json.dumps([definition.name, actor, value], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _why_not_resumed(run: Run) -> str:
    record = run.record
    match record.status:
        case RunStatus.FAILED:
            return (
                f"{run.run_id} failed and what it had done was undone: nothing to resume. Start again with other input."
            )
        case RunStatus.COMPLETED | RunStatus.CANCELLED:
            return f"{run.run_id} is {record.status}: nothing to resume."
        case _:
            return f"{run.run_id} is {record.status}: it goes on by itself. Call get_run with wait_seconds 50."
