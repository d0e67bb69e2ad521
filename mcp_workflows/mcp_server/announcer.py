"""Telling clients that the tool list changed, in both eras of the protocol.

In the handshake era a notification is pushed to every session; since 2026-07-28 a client opens a stream with
``subscriptions/listen``, fed by a bus.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.session import ServerSession
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged
from mcp_types import (
    NotificationParams,
    SubscriptionFilter,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
)

logger = logging.getLogger(__name__)

_PUSH_SECONDS = 5.0
"""A client that does not read its stream is not waited for longer than this."""


class Announcer:
    """Keeps the handshake era's sessions and the streams of the other, and tells all of them."""

    def __init__(self) -> None:
        self._bus = InMemorySubscriptionBus()
        self._listening = ListenHandler(self._bus)
        self._sessions: set[ServerSession] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def sessions(self) -> int:
        return len(self._sessions)

    async def on_initialized(self, ctx: ServerRequestContext[Any, Any], _params: NotificationParams | None) -> None:
        """Keep the session until its connection ends."""
        session = ctx.session
        self._sessions.add(session)
        # The SDK offers no public way to the connection, whose end is the only sign that a session is gone.
        connection = session._connection  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        connection.exit_stack.callback(self._sessions.discard, session)

    async def on_listen(
        self, ctx: ServerRequestContext[Any, Any], params: SubscriptionsListenRequestParams
    ) -> SubscriptionsListenResult:
        """Only the tool list can be listened to: a URI that nobody serves is not acknowledged."""
        wanted = SubscriptionFilter(tools_list_changed=params.notifications.tools_list_changed)
        return await self._listening(ctx, params.model_copy(update={"notifications": wanted}))

    def tools_changed(self) -> None:
        """Tell everybody, in the background."""
        self._in_background(self._publish())
        for session in list(self._sessions):
            self._in_background(self._push(session))

    def close(self) -> None:
        """End the streams with their proper last frame."""
        self._listening.close()

    async def _publish(self) -> None:
        await self._bus.publish(ToolsListChanged())

    async def _push(self, session: ServerSession) -> None:
        try:
            async with asyncio.timeout(_PUSH_SECONDS):
                await session.send_tool_list_changed()
        except TimeoutError:
            logger.info("a client did not take the notice that the tools changed")
        except Exception:  # one broken connection must not keep the others from being told
            logger.exception("a client could not be told that the tools changed")

    def _in_background(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
