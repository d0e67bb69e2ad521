"""Starting runs, or joining those that earlier calls like these started; here, or at another node to which they are left."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from mcp_workflows.clock import Clock, new_id
from mcp_workflows.definition.input_schema import validate_input
from mcp_workflows.definition.program import Definition, Json
from mcp_workflows.engine import moves
from mcp_workflows.engine.records import Run, RunRecord, Turn
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.errors import RecordRefused, RunRefused, SettingsInvalid, Stopping
from mcp_workflows.runtime.catalog import Catalog, Served
from mcp_workflows.runtime.children import pins_of
from mcp_workflows.runtime.node import Node
from mcp_workflows.runtime.viewing import Viewer, view_of
from mcp_workflows.runtime.views import Progress, RunView
from mcp_workflows.runtime.watching import is_news
from mcp_workflows.store import NewRun, StartResult, Store

logger = logging.getLogger(__name__)

TAKING = 2.0
"""Seconds that ``start`` waits until another node has begun a run that is left to it; one that does not is not waited for."""
FIRST_LOOK, QUICK = 0.005, 0.1
"""Seconds until it is looked at for the first time; and after it has begun, in which it may end."""


class Starting:
    """``max_queued``: runs that may wait to be begun, before no more are taken; ``None``: any number."""

    def __init__(
        self, catalog: Catalog, store: Store, node: Node, viewer: Viewer, clock: Clock, max_queued: int | None
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._node = node
        self._viewer = viewer
        self._clock = clock
        self._max_queued = max_queued

    async def start(self, workflow: str, arguments: Json, *, actor: str, idempotency_key: str | None) -> RunView:
        """As ``Runs.start``."""
        served = self._catalog.serving(workflow)
        if self._node.leaving:
            raise Stopping("The service is stopping; no run was started. Call again in a few seconds.")
        left = self._node.leaves(workflow, served.version)
        if not left:
            try:
                self._node.check(served.definition)
            except SettingsInvalid as unable:
                raise RunRefused(f"No run was started: {unable}.") from None
        new = self._new_run(served, validate_input(served.definition, arguments), actor, idempotency_key)
        able = self._node.why_not(served.definition) is None
        if left or not able:
            return await self._start_elsewhere(new, served.definition, able=able)
        return await self._start_here(new, served.definition)

    async def _start_here(self, new: NewRun, definition: Definition) -> RunView:
        own = self._node.reserve()
        try:
            begun = self._node.machines.begin(new.run(None), definition) if own else None
            started = await self._started(new if own else _queued(new), begun and begun.ended)
            if own and not started.joined and not started.run.record.status.finished:
                self._node.adopt(started.run, definition, begun)
                own = False
        finally:
            if own:
                self._node.unreserve()
        if started.joined:
            return replace(await self._viewer.view(started.run), joined=True)
        finished = started.run.record.status.finished
        return view_of(started.run, progress=None if finished else Progress(0))

    async def _start_elsewhere(self, new: NewRun, definition: Definition, *, able: bool) -> RunView:
        """Queued for another node, and waited for until that one has begun it. ``able``: this one could move it.

        A run that only computes has come to its end before another node hears of it.
        """
        begun = self._node.machines.begin(new.run(None), definition) if able else None
        started = await self._started(_queued(new), begun and begun.ended)
        if started.joined:
            return replace(await self._viewer.view(started.run), joined=True)
        run = started.run
        if self._node.leaves(run.workflow, run.version):
            run = await self._taken(run)
        return await self._viewer.view(run)

    async def _taken(self, run: Run) -> Run:
        """As it is a moment after a node has begun it, or at its end. If none begins it for long, all are busy, as it is told.

        One looks without being told, soon at first: what is over soon is to be answered as soon as if it had been moved here.
        """
        now = asyncio.get_running_loop().time
        until, pause = now() + TAKING, FIRST_LOOK
        with self._node.watches.on(run.run_id) as watch:
            while not is_news(run := await self._node.latest(run)):
                if run.record.status is not RunStatus.PENDING:
                    until = min(until, now() + QUICK)
                if now() >= until:
                    break
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(min(now() + pause, until)):
                        await watch.news()
                pause *= 1.5
        return run

    async def _started(self, new: NewRun, ended: Turn | None) -> StartResult:
        """Recorded with its end, if it has come to it. One whose end cannot be recorded is begun, and set aside."""
        if ended is not None:
            try:
                return await self._store.start(replace(new, ended=ended), max_queued=self._max_queued)
            except RecordRefused as refused:
                logger.warning("run %s cannot be recorded with its end: %s", new.run_id, refused)
        return await self._store.start(new, max_queued=self._max_queued)

    def _new_run(self, served: Served, value: Json, actor: str, idempotency_key: str | None) -> NewRun:
        """As it is where it begins at once."""
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
            record=moves.started(definition, now),
            pins=pins_of(self._catalog, definition),
        )


def _queued(new: NewRun) -> NewRun:
    """For the first node that takes it."""
    return replace(new, own=False, record=RunRecord(RunStatus.PENDING))


def _join_key(definition: Definition, value: Json, actor: str) -> str | None:
    if definition.mcp.join == "off" or definition.read_only:
        return None
    text = json.dumps([definition.name, actor, value], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
