"""What surfaces may ask of runs: start, get, wait, list, signal, resume, cancel, trace. The only way in.

Every method takes the ``actor`` whose runs may be seen; ``None``: everybody's, as the person at the terminal sees them and
whoever operates the service. ``by`` is who asks, where that is not the same.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

from mcp_workflows.asking.resuming import resume_body
from mcp_workflows.asking.signals import Given, Posting, answers, expired_at
from mcp_workflows.asking.waiting import asked_by
from mcp_workflows.clock import Clock
from mcp_workflows.definition.program import Json
from mcp_workflows.engine.paths import around
from mcp_workflows.engine.records import MessageKind, Run
from mcp_workflows.engine.resuming import failed_children
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.errors import RelativeMoved, RunRefused, UnknownRun
from mcp_workflows.runtime.callbacks import Callbacks, Received
from mcp_workflows.runtime.catalog import Catalog
from mcp_workflows.runtime.following import Following, Stop, Tell
from mcp_workflows.runtime.inbox import Inbox
from mcp_workflows.runtime.loading import load_records
from mcp_workflows.runtime.node import Node
from mcp_workflows.runtime.relatives import Relatives
from mcp_workflows.runtime.starting import Starting
from mcp_workflows.runtime.telling import Teller
from mcp_workflows.runtime.viewing import Viewer, told_of, view_of
from mcp_workflows.runtime.views import Asking, Past, RunPage, RunQuery, RunView, Trace
from mcp_workflows.runtime.watching import is_news
from mcp_workflows.store import Store

OnProgress = Callable[[RunView], Awaitable[None]]

LOCAL = "local"
"""Whoever is at this machine, where nobody has to say who they are."""
PREFIX = 8
"""Characters after ``r_`` that a shortened run id needs at least."""
ENDING = 1.0
"""Seconds that ``cancel`` waits for the end of a run that has taken it in: most have little to stop and to undo."""
_PAST: Final[tuple[MessageKind, ...]] = ("resume", "undo", "refusal")


class Runs:
    """The facade over catalog, store and node."""

    def __init__(
        self, catalog: Catalog, store: Store, node: Node, clock: Clock, callbacks: Callbacks | None = None,
        max_queued: int | None = None,
        secret: bytes | None = None,
    ) -> None:  # fmt: skip
        self.catalog = catalog
        self.callbacks = callbacks
        """Who reads the tokens of calls from outside; ``None`` in a process that takes none."""
        self._store = store
        self._node = node
        self._clock = clock
        self._secret = secret
        self._viewer = Viewer(catalog, store, node)
        self._starting = Starting(catalog, store, node, self._viewer, clock, max_queued)
        self._inbox = Inbox(catalog, store, node, clock)
        self._relatives = Relatives(catalog, store)
        self._following = Following(node, store)

    def key(self, purpose: bytes) -> bytes:
        """32 bytes that every node of this database has for this purpose, and nobody else."""
        assert self._secret is not None, "this process serves nobody"
        return hmac.digest(self._secret, b"mcp-workflows " + purpose + b"\0", "sha256")

    @property
    def served_beside(self) -> str | None:
        """Where a server over HTTP can be called that is up beside this one, which cannot; ``None``: there is none."""
        return self._node.served_beside

    @property
    def unwell(self) -> str | None:
        """What is wrong with the database, while a node that moves runs cannot use it; else ``None``."""
        if self._store.unwell is None and self._store.stale:
            return f"The database has taken nothing from this node for {self._store.seconds_since_renewal:.0f} s."
        return self._store.unwell

    async def start(self, workflow: str, arguments: Json, *, actor: str, idempotency_key: str | None = None) -> RunView:
        """Start a run, or join the one that an earlier call like this started. It is durable when this returns.

        Where this node is full it is ``pending``, and begins at the first node that has room. Raises ``UnknownWorkflow``,
        ``InputRefused``, ``RunRefused``, ``KeyConflict``, ``Stopping``, ``Busy``, ``StoreUnavailable``.
        """
        return await self._starting.start(workflow, arguments, actor=actor, idempotency_key=idempotency_key)

    async def get(self, run_id: str, *, actor: str | None) -> RunView:
        """The run as it stands. Raises ``UnknownRun``."""
        return await self._viewer.view(await self._run(run_id, actor))

    async def wait(
        self, run_id: str, *, actor: str | None, seconds: float, known: Collection[str] | None = None,
        on_progress: OnProgress | None = None,
    ) -> RunView:  # fmt: skip
        """The run once it has ended, paused, or needs something new, or as it stands after ``seconds``.

        ``known``: paths of the waits for an answer that are no news to the caller; ``None``: those of this moment. Raises
        ``UnknownRun``.
        """
        run = await self._run(run_id, actor)
        with self._node.watches.on(run.run_id) as watch:
            run = await self._node.latest(run)  # it may have ended just before it was watched
            old = frozenset(run.record.waiting_for if known is None else known)
            if on_progress is None:
                watch.heeds = partial(is_news, known=old)
            teller = Teller(None if on_progress is None else lambda run: self._tell(run, on_progress))
            try:
                async with asyncio.timeout(seconds):
                    while not is_news(run, old):
                        run = await teller.listen(watch) or await self._node.latest(run)
                        if not is_news(run, old):
                            await teller.tell(run)
            except TimeoutError:
                run = await self._node.latest(run)
        return await self._viewer.view(run)

    async def find(self, beginning: str, *, actor: str | None) -> Sequence[str]:
        """Up to ten ids of the actor's runs that begin like this."""
        return await self._store.find_runs(beginning, actor)

    async def follow(self, run_id: str, tell: Tell, *, actor: str | None) -> Stop:
        """Call ``tell`` whenever something was recorded of the run, whoever moves it, until ``Stop`` is called.

        Raises ``UnknownRun`` and ``StoreUnavailable``.
        """
        run = await self._run(run_id, actor)
        return await self._following.follow(run.run_id, tell)

    async def last_change(self, view: RunView) -> datetime:
        """When the last thing was recorded of the run, as far as instants are recorded."""
        if view.finished_at is not None:
            return view.finished_at
        changed_at = await self._store.last_change(view.run_id)
        return max(filter(None, (view.created_at, view.started_at, changed_at)))

    async def list(self, query: RunQuery) -> RunPage:
        """A page of runs, newest first."""
        page = await self._store.list_runs(query)
        return RunPage([view_of(run) for run in page.runs], page.next_cursor)

    async def resume(
        self, run_id: str, *, actor: str | None, correction: Mapping[str, Any], via: str, person: bool,
        reason: str | None = None, by: str | None = None,
    ) -> RunView:  # fmt: skip
        """Go on from the failed step, as corrected. Raises ``RunRefused``, ``InputRefused``, ``UnknownRun``.

        ``via``: the surface. ``person``: it knows that a person asks for this.
        """
        run = await self._run(run_id, actor)
        definition = await self.catalog.definition_of(run.definition_id)
        rows = {row.path: row for row in await load_records(self._store, run, definition)}
        body = resume_body(run, definition, rows, correction, person=person) | {"via": via}
        above = await self._relatives.above(run)
        since, below = await self._relatives.below(run, failed_children(run.record, definition, rows, correction))
        if since:
            body["children"] = since
        if run.record.status.finished:
            body["ended"] = True
        told = await self._inbox.deliver(
            run, Posting("resume", body), by or actor or LOCAL, reason, beside=[*above, *below]
        )
        return await self._viewer.view(told)

    async def signal(
        self, run_id: str, name: str, data: Json, *, actor: str | None, via: str, person: bool, by: str | None = None,
        decides: bool = False,
    ) -> RunView:  # fmt: skip
        """Answer the approval, or send the signal, of this name; the data is held against what the run waits for.

        ``via``: the surface. ``person``: it knows that a person decided. ``decides``: this is meant for an approval and
        nothing else. Raises ``RunRefused`` (``PersonNeeded``), ``InputRefused`` and ``UnknownRun``: nothing was changed.
        """
        given = Given(name, data, by or actor or LOCAL, via, person, decides)
        return await self._viewer.view(await self._inbox.send(await self._run(run_id, actor), given))

    async def asked(self, run_id: str, wait: str, *, actor: str | None) -> Asking:
        """What the wait that its ``Waiting.key`` names is about, and what came of it. Raises ``UnknownRun``."""
        run = await self._run(run_id, actor)
        definition = await self.catalog.definition_of(run.definition_id)
        view = await self._viewer.view(run)
        path, _, generation = wait.rpartition("#")
        messages = await self._store.load_messages(run.run_id, unconsumed_only=False)
        steps = await self._store.load_steps(run.run_id, {"", *around(path)})
        row = next((step for step in steps if step.path == path and str(step.generation) == generation), None)
        return Asking(
            run=view,
            title=definition.title or definition.name,
            description=definition.description,
            wait=None if row is None else asked_by(definition, row),
            is_open=any(one.key == wait for one in view.waiting_for),
            expired_at=None if row is None else expired_at(row, self._clock()),
            answer=next((told_of(message) for message in messages if answers(message, wait)), None),
            steps=steps,
        )

    async def answer(
        self, run_id: str, wait: str, data: Json, *, actor: str | None, via: str, person: bool, by: str | None = None
    ) -> RunView:
        """Answer one wait, which its ``Waiting.key`` names, and no other: as ``signal``, with the same refusals.

        That a wait is over, or was answered by somebody else meanwhile, is such a refusal, and changes nothing.
        """
        given = Given(wait.rpartition("#")[0], data, by or actor or LOCAL, via, person, wait=wait)
        return await self._viewer.view(await self._inbox.send(await self._run(run_id, actor), given))

    async def refused(
        self, run_id: str, asked: str, why: str, *, actor: str | None, via: str, by: str | None = None, number: int
    ) -> None:
        """Put on record that an answer to what is ``asked`` was not taken, the ``number``th one. Raises ``UnknownRun``."""
        run = await self._run(run_id, actor)
        await self._store.deliver(
            run.run_id, "refusal", {"wait": asked, "why": why, "via": via}, actor=by or actor or LOCAL, reason=None,
            now=self._clock(), dedupe_key=f"refusal:{asked}:{number}", taken=True,
        )  # fmt: skip

    async def past(self, view: RunView) -> Past:
        """What happened to the run that its view does not tell."""
        messages = await self._store.load_messages_of(view.run_id, _PAST)
        refusals: dict[str, list[str]] = {}
        for message in messages:
            if message.kind == "refusal":
                refusals.setdefault(str(message.body["wait"]), []).append(str(message.body["why"]))
        ended = any(message.kind == "undo" or message.body.get("ended") for message in messages)
        return Past(ended, refusals)

    async def cancel(
        self,
        run_id: str,
        *,
        actor: str | None,
        via: str,
        compensate: bool = True,
        reason: str | None = None,
        by: str | None = None,
    ) -> RunView:
        """Stop a run and undo its completed steps. Of a run that has ended it is no error.

        Raises ``UnknownRun``, and ``RunRefused`` where a child has completed of which the run does not know.
        """
        run = await self._run(run_id, actor)
        if run.record.status.finished or run.record.status is RunStatus.COMPENSATING:
            return await self._viewer.view(run)
        below: Sequence[Run] = ()
        if compensate and run.record.status is RunStatus.PAUSED:
            definition = await self.catalog.definition_of(run.definition_id)
            rows = {row.path: row for row in await load_records(self._store, run, definition)}
            below = await self._relatives.none_completed(run, failed_children(run.record, definition, rows, {}))
        body: dict[str, Json] = {"compensate": compensate, "via": via}
        sent = Posting("cancel", body, await self._inbox.cancel_key(run.run_id, compensate=compensate))
        try:
            await self._inbox.deliver(run, sent, by or actor or LOCAL, reason, beside=below)
        except RelativeMoved:
            raise
        except RunRefused:
            pass  # somebody has asked for the same, and the run has not come to it
        return await self.wait(run.run_id, actor=actor, seconds=ENDING)

    async def callback(self, run_id: str, path: str, attempt: int, body: Json) -> Received:
        """A call of the ``callback_url`` of that attempt. Raises ``StoreUnavailable`` and ``NodeLost``."""
        assert self.callbacks is not None, "this process takes no calls"
        return await self.callbacks.take(run_id, path, attempt, body)

    async def trace(self, run_id: str, *, actor: str | None) -> Trace:
        """Everything that is recorded of a run. Raises ``UnknownRun``."""
        run = await self._run(run_id, actor)
        steps = await self._store.load_steps(run.run_id)
        attempts = await self._store.load_attempts(run.run_id)
        messages = await self._store.load_messages(run.run_id, unconsumed_only=False)
        view = await self._viewer.view(run)
        return Trace(view, steps, attempts, [told_of(message) for message in messages])

    async def _run(self, run_id: str, actor: str | None) -> Run:
        """By id, or by the beginning of one of the actor's own. A foreign run is as unknown as an absent one.

        The database is asked the same of both, so that they take as long.
        """
        mover = self._node.mover_of(run_id)
        if mover is not None and actor in (None, mover.run.actor):
            return mover.run
        run = await self._store.load_run(run_id, actor)
        if run is None and len(run_id) >= len("r_") + PREFIX:
            candidates = await self._store.find_runs(run_id, actor)
            if len(candidates) == 1:
                run = await self._store.load_run(candidates[0])
        if run is None:
            raise UnknownRun(f"No run {run_id} that you may see.")
        return run

    async def _tell(self, run: Run, how: OnProgress) -> None:
        await how(await self._viewer.view(run))
