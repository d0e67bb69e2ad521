"""Telling runs something: a message goes into the run's inbox, from any node, and whoever owns the run takes it in."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from mcp_workflows.asking.signals import Given, Posting, answered, not_taken, past_lists, posting
from mcp_workflows.asking.waiting import waiting_for
from mcp_workflows.clock import Clock
from mcp_workflows.engine.records import Message, Run
from mcp_workflows.errors import RunRefused
from mcp_workflows.runtime.catalog import Catalog
from mcp_workflows.runtime.node import Node
from mcp_workflows.store import Store

SETTLING = 10.0
"""Seconds that whoever tells a run something waits for its owner to take the message in."""
MAX_UNREAD, MAX_UNREAD_SIZE = 1000, 16 << 20
"""Messages, and characters of them together, that a run may have in its inbox before it takes no more signals."""


class Inbox:
    """The inboxes of all runs of the database."""

    def __init__(self, catalog: Catalog, store: Store, node: Node, clock: Clock) -> None:
        self._catalog = catalog
        self._store = store
        self._node = node
        self._clock = clock

    async def send(self, run: Run, given: Given) -> Run:
        """What is ``given`` to what the run waits for, as ``deliver`` does; or why it is not taken, as an error."""
        definition = await self._catalog.definition_of(run.definition_id)
        rows = {row.path: row for row in await self._store.load_waiting(run.run_id)}
        sent = posting(run, definition, rows, given, self._clock())
        if sent is None:
            messages = await self._store.load_messages(run.run_id, unconsumed_only=False)
            past = await self._store.load_steps(run.run_id, past_lists(messages, given.name))
            raise not_taken(run, definition, waiting_for(definition, rows), given, messages, past)
        if sent.kind == "signal":
            count, size = await self._store.unread(run.run_id)
            if count >= MAX_UNREAD or size >= MAX_UNREAD_SIZE:
                raise RunRefused(
                    f"{run.run_id} has {count:,} messages that it has not come to yet, and takes no more in advance. "
                    "Nothing was changed: send it again when the run has gone on."
                )
        return await self.deliver(run, sent, given.actor, None)

    async def deliver(
        self, run: Run, sent: Posting, actor: str, reason: str | None, *, beside: Sequence[Run] = ()
    ) -> Run:
        """Put a message into the inbox and wait until the run's owner, whoever that is, has taken it in: the run after that.

        Raises ``RunRefused`` where the same was said before, and ``RelativeMoved``: nothing was said, as one of ``beside``
        does not stand as it was read any more.
        """
        with self._node.watches.on(run.run_id) as watch:
            delivered = await self._store.deliver(
                run.run_id,
                sent.kind,
                sent.body,
                actor=actor,
                reason=reason,
                now=self._clock(),
                dedupe_key=sent.dedupe_key,
                beside=beside,
            )
            if not delivered.new:
                raise RunRefused(answered(await self._message(run, delivered.message_id)))
            self._node.stir()
            try:
                async with asyncio.timeout(SETTLING):
                    while not await self._store.consumed(delivered.message_id):
                        await watch.news()
            except TimeoutError:
                pass  # it is in the inbox; whoever moves the run next takes it in
        return await self._node.latest(run)

    async def cancel_key(self, run_id: str, *, compensate: bool) -> str:
        """The same for all who ask before the run has taken in what one of them sent, however many they are."""
        all_ = await self._store.count_messages(run_id, "cancel")
        unread = await self._store.load_messages(run_id, unconsumed_only=True)
        told = max(all_ - sum(one.kind == "cancel" for one in unread), 0)
        return f"cancel:{told}:{'undo' if compensate else 'leave'}"

    async def _message(self, run: Run, message_id: int) -> Message:
        messages = await self._store.load_messages(run.run_id, unconsumed_only=False)
        return next(message for message in messages if message.message_id == message_id)
