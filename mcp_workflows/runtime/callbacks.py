"""Calls from outside that end a step which waits for one: ``callback`` of an ``http`` step.

A call is a message to the run, so it may come before the run waits for it, at any node, and twice. Its token is good as long as
the step is open and the token's attempt went out under the idempotency key that the step has now: a service that
answers a repetition with its first answer may well call back as the first attempt asked it to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from mcp_workflows.clock import Clock
from mcp_workflows.definition.program import Json
from mcp_workflows.engine.paths import parent_of
from mcp_workflows.engine.records import StepRecord
from mcp_workflows.errors import InputRefused, UnknownRun
from mcp_workflows.runtime.catalog import Catalog
from mcp_workflows.runtime.node import Node
from mcp_workflows.steps.answer import AnswerUnreadable, decode
from mcp_workflows.steps.callback import PATH, CallbackTokens, Meant
from mcp_workflows.steps.redact import redactor_of
from mcp_workflows.store import Store

__all__ = ["ACTOR", "PATH", "Callbacks", "Meant", "Received"]

Received = Literal["accepted", "duplicate", "late"]
"""``accepted``: the message is durable. ``duplicate``: an earlier call was. ``late``: nothing waits for it any more."""

ACTOR = "callback"
"""Who sent such a message, as far as is known: whoever had the token."""


class Callbacks:
    """Reads tokens and bodies, and puts calls into inboxes."""

    def __init__(
        self,
        catalog: Catalog,
        store: Store,
        node: Node,
        clock: Clock,
        *,
        tokens: CallbackTokens,
        secrets_of: Callable[[Iterable[str]], Mapping[str, str]],
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._node = node
        self._clock = clock
        self._tokens = tokens
        self._secrets_of = secrets_of

    def meant(self, token: str) -> Meant | None:
        """What a token is for; ``None``: it was not made here."""
        return self._tokens.read(token)

    def content(self, raw: bytes, content_type: str) -> Json:
        """The body as it may be recorded: JSON, or else text. Raises ``InputRefused``."""
        try:
            return decode(raw, content_type, "auto")
        except AnswerUnreadable as unreadable:
            raise InputRefused(f"Nothing was taken: the body {unreadable}.") from None

    async def take(self, run_id: str, path: str, attempt: int, body: Json) -> Received:
        """Raises ``StoreUnavailable`` and ``NodeLost``: nothing is known to be taken; the same call again does no harm."""
        run = await self._store.load_run(run_id)
        if run is None:
            return "late"
        steps = await self._store.load_steps(run_id, [parent_of(path)])
        step = next((each for each in steps if each.path == path), None)
        if run.record.status.finished or not _awaited(step, attempt):
            return "duplicate" if await self._was_called(run_id, path) else "late"
        if step is not None:
            attempt = step.attempts_before + step.attempts + 1
        definition = await self._catalog.definition_of(run.definition_id)
        body = redactor_of(dict(self._secrets_of(definition.secrets))).json(body)
        message = {"path": path, "attempt": attempt, "body": body}
        try:
            delivered = await self._store.deliver(
                run_id,
                "callback",
                message,
                actor=ACTOR,
                reason=None,
                now=self._clock(),
                dedupe_key=f"callback:{path}:{attempt}",
            )
        except UnknownRun:
            return "late"
        self._node.stir()
        return "accepted" if delivered.new else "duplicate"

    async def _was_called(self, run_id: str, path: str) -> bool:
        messages = await self._store.load_messages(run_id, unconsumed_only=False)
        return any(message.kind == "callback" and message.body.get("path") == path for message in messages)


def _awaited(step: StepRecord | None, attempt: int) -> bool:
    """Without a row the attempt is in flight, and quick: a row is written for those that last."""
    if step is None:
        return True
    oldest = step.attempts_before if step.corrected else 0
    return not step.status.settled and attempt > oldest
