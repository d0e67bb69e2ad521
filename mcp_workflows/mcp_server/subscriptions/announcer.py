"""Telling clients what changed, in both eras of the protocol.

In the handshake era a client is told unasked that lists changed, and of resources that it subscribed to; since 2026-07-28 it
opens a stream with ``subscriptions/listen`` and says what it wants to hear of. What can be listened to by name (resources,
tasks) is offered by those who know it: a name that they do not admit for this caller is not acknowledged, whether it is foreign
or not there at all.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Literal, TypeAlias, cast

from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.session import ServerSession
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import SUBSCRIPTION_ID_META_KEY
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    NotificationParams,
    RequestId,
    SubscriptionFilter,
    SubscriptionsAcknowledgedNotification,
    SubscriptionsAcknowledgedNotificationParams,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
)
from pydantic import BaseModel

from mcp_workflows.errors import CallerError, SystemUnwell
from mcp_workflows.mcp_server.subscriptions.listener import Listener, Notice, Stop, Tell, Topic

logger = logging.getLogger(__name__)

Context: TypeAlias = ServerRequestContext[Any, Any]
List = Literal["tools", "prompts", "resources"]
Offer = Callable[[Context, str], Topic | None]
"""Makes the topic that a name means to this caller; ``None``: it means nothing."""

RESOURCES = "resourceSubscriptions"
"""Where a filter names the resources that it wants to hear of."""
MAX_NAMED = 100
"""Names that one client may follow at the same time."""
MAX_STREAMS = 1024
MAX_STREAMS_EACH = 250
"""Of one actor with a token."""

_PUSH_SECONDS = 5.0
"""A client that does not read its stream is not waited for longer than this."""
_LISTS: dict[str, List] = {
    "toolsListChanged": "tools",
    "promptsListChanged": "prompts",
    "resourcesListChanged": "resources",
}


class Announcer:
    """Keeps the handshake era's sessions and the streams of the other, and tells all of them.

    ``owner_of``: who has to answer for a stream, if anybody had to say who they are.
    """

    def __init__(self, owner_of: Callable[[Context], str | None]) -> None:
        self._owner_of = owner_of
        self._offers: dict[str, Offer] = {}
        self._lists: dict[List, _ListChanged] = {name: _ListChanged(name) for name in _LISTS.values()}
        self._streams: dict[Listener, str | None] = {}
        """And whose they are, where that is known."""
        self._sessions: dict[Connection, Listener] = {}
        self._pushing: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def sessions(self) -> int:
        return len(self._sessions)

    @property
    def following(self) -> int:
        """How many things are followed by name."""
        return sum(_named(listener) for listener in [*self._streams, *self._sessions.values()])

    def offer(self, key: str, offer: Offer) -> None:
        """Let clients listen to what ``offer`` knows, by the names under ``key`` of their filter."""
        self._offers[key] = offer

    def list_changed(self, name: List) -> None:
        """Tell everybody who wants to know, in the background."""
        self._lists[name].happened()

    def close(self) -> None:
        """End the streams with their proper last frame."""
        self._closed = True
        for listener in [*self._streams, *self._sessions.values()]:
            listener.close()

    # Since 2026-07-28

    async def on_listen(self, ctx: Context, params: SubscriptionsListenRequestParams) -> SubscriptionsListenResult:
        """One call is one stream, which ends when the client goes or the service stops."""
        if ctx.request_id is None:
            raise MCPError(INVALID_REQUEST, "subscriptions/listen requires a request id")
        if len(self._streams) >= MAX_STREAMS:
            raise MCPError(INTERNAL_ERROR, "There are as many streams as this server keeps; try again later")
        owner = self._owner_of(ctx)
        if owner is not None and list(self._streams.values()).count(owner) >= MAX_STREAMS_EACH:
            raise MCPError(INVALID_REQUEST, f"{owner} has {MAX_STREAMS_EACH} streams open already. Close some.")
        listener = Listener()
        self._streams[listener] = owner
        try:
            honored = await self._honored(ctx, params.notifications, listener)
            await self._serve(ctx, ctx.request_id, honored, listener)
        finally:
            listener.close()
            del self._streams[listener]
        return SubscriptionsListenResult(_meta={SUBSCRIPTION_ID_META_KEY: ctx.request_id})

    async def _serve(
        self, ctx: Context, request_id: RequestId, honored: SubscriptionFilter, listener: Listener
    ) -> None:
        meta: dict[str, Any] = {SUBSCRIPTION_ID_META_KEY: request_id}
        acknowledged = SubscriptionsAcknowledgedNotificationParams(notifications=honored, _meta=meta)
        await ctx.session.send_notification(
            SubscriptionsAcknowledgedNotification(params=acknowledged), related_request_id=request_id
        )
        if self._closed:
            listener.close()
        while (notice := await listener.next()) is not None:
            stamped = {**notice.params, "_meta": {**notice.params.get("_meta", {}), **meta}}
            await _send(ctx.session, Notice(notice.method, stamped), related_request_id=request_id)

    async def _honored(self, ctx: Context, wanted: SubscriptionFilter, listener: Listener) -> SubscriptionFilter:
        """Follow what this caller may hear of; what it may not is left out of the answer."""
        asked = wanted.model_dump(by_alias=True, exclude_none=True)
        honored: dict[str, Any] = {}
        for key, name in _LISTS.items():
            if asked.get(key):
                await listener.follow(key, self._lists[name])
                honored[key] = True
        for key, offer in self._offers.items():
            names = _texts(asked.get(key))
            if found := [name for name in names if await self._admit(ctx, key, name, offer, listener)]:
                honored[key] = found
        return SubscriptionFilter.model_validate(honored)

    async def _admit(self, ctx: Context, key: str, name: str, offer: Offer, listener: Listener) -> bool:
        if _named(listener) >= MAX_NAMED:
            return False
        topic = offer(ctx, name)
        if topic is None:
            return False
        try:
            await listener.follow(f"{key} {name}", topic)
        except (CallerError, SystemUnwell):
            return False
        return True

    # The handshake era

    async def on_initialized(self, ctx: Context, _params: NotificationParams | None) -> None:
        """Keep the session until its connection ends."""
        await self._session_of(ctx)

    async def subscribe(self, ctx: Context, uri: str) -> bool:
        """Whether this session is told of the resource from now on."""
        listener = await self._session_of(ctx)
        if _named(listener) >= MAX_NAMED:
            raise MCPError(INVALID_REQUEST, f"This session follows {MAX_NAMED} resources already. Unsubscribe some.")
        return await self._admit(ctx, RESOURCES, uri, self._offers[RESOURCES], listener)

    async def follow(self, ctx: Context, name: str, topic: Callable[[Stop], Topic]) -> None:
        """Tell this session of something unasked. ``topic`` is made with what ends that."""
        listener = await self._session_of(ctx)
        if _named(listener) < MAX_NAMED:
            await listener.follow(name, topic(lambda: listener.unfollow(name)))

    async def unsubscribe(self, ctx: Context, uri: str) -> None:
        """Of what nobody subscribed to it is no error."""
        (await self._session_of(ctx)).unfollow(f"{RESOURCES} {uri}")

    async def _session_of(self, ctx: Context) -> Listener:
        # The SDK offers no public way to the connection: what the requests of a session share, and its only sign of an end.
        connection = ctx.session._connection  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        listener = self._sessions.get(connection)
        if listener is None:
            listener = self._sessions[connection] = Listener()
            connection.exit_stack.callback(self._forget, connection, listener)
            for key, name in _LISTS.items():
                await listener.follow(key, self._lists[name])
            self._in_background(_push(ctx.session, listener))
        return listener

    def _forget(self, connection: Connection, listener: Listener) -> None:
        del self._sessions[connection]
        listener.close()

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._pushing.add(task)
        task.add_done_callback(self._pushing.discard)


async def _push(session: ServerSession, listener: Listener) -> None:
    try:
        while (notice := await listener.next()) is not None:
            try:
                async with asyncio.timeout(_PUSH_SECONDS):
                    await _send(session, notice)
            except TimeoutError:
                logger.info("a client did not take a notice that something changed")
    except Exception:  # one broken connection must not keep the others from being told
        logger.exception("a client could not be told that something changed")


async def _send(session: ServerSession, notice: Notice, related_request_id: RequestId | None = None) -> None:
    frame = cast("Any", _Frame(method=notice.method, params=notice.params))
    await session.send_notification(frame, related_request_id=related_request_id)


def _named(listener: Listener) -> int:
    """How many things it follows beside the lists."""
    return sum(name not in _LISTS for name in listener.names)


def _texts(value: Any) -> list[str]:
    """Each once; an extension's part of the filter has been checked by nobody."""
    elements = cast("list[Any]", value) if isinstance(value, list) else []
    return list(dict.fromkeys(one for one in elements if isinstance(one, str)))


class _Frame(BaseModel):
    """Any notification: those of extensions are none that the SDK knows."""

    method: str
    params: dict[str, Any]


class _ListChanged:
    """The topic of a list; every caller may hear that it changed."""

    def __init__(self, name: List) -> None:
        self._notice = Notice(f"notifications/{name}/list_changed")
        self._tells: list[Tell] = []

    def happened(self) -> None:
        for tell in self._tells:
            tell()

    async def follow(self, tell: Tell) -> Stop:
        self._tells.append(tell)
        return lambda: self._tells.remove(tell)

    async def notice(self) -> Notice | None:
        return self._notice
