"""Open sessions with servers: opened on first use, shared by attempts, closed when idle, opened anew when lost.

A session lives in a task of its own, because its scopes must be left by the task that entered them. Attempts only send
through it, so one that is cancelled leaves it as it was.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable
from contextlib import AbstractAsyncContextManager
from typing import Any

from mcp import Client, MCPError
from mcp_types import Implementation

from mcp_workflows import __version__
from mcp_workflows.steps.mcp_tool.failure import Failure
from mcp_workflows.steps.mcp_tool.wire import Wire

_log = logging.getLogger(__name__)
IDLE = 300.0
"""Seconds after which a session that nobody uses is closed."""
OPENING = 60.0
"""Seconds in which a server must answer the first time: a command may have to fetch itself first."""
CLOSING = 6.0
"""Seconds that the sessions get to end: the SDK gives a process two to leave by itself, and two more after SIGTERM."""

Streams = Callable[[Callable[[], None]], AbstractAsyncContextManager[tuple[Any, Any]]]
"""Opens the way to a server; what it is given is called when that way has ended."""


class NotOpened(Exception):
    """There is no session; nothing was asked of any tool."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Session:
    """One server, as one caller. ``client`` may be used once ``opened`` has returned."""

    def __init__(self, name: str, streams: Streams, wire: Wire | None) -> None:
        self.name = name
        self.wire = wire
        self.users = 0
        self.over = False
        """Ended, or about to: not for new calls."""
        self._streams = streams
        self._client: Client | None = None
        self._failure: Failure | None = None
        self._settled = asyncio.Event()
        self._end = asyncio.Event()
        self._used_at = 0.0
        self.task = asyncio.create_task(self._live())

    async def opened(self) -> Client:
        """Raises ``NotOpened``."""
        await self._settled.wait()
        if self._client is None:
            raise NotOpened(self._failure or Failure("connect", f"{self.name} ended at once", retryable=True))
        return self._client

    def end(self) -> None:
        """Take no new calls, and leave."""
        self.over = True
        self._end.set()
        if not self._settled.is_set():
            self.task.cancel()

    def used(self) -> None:
        self._used_at = asyncio.get_running_loop().time()

    async def _live(self) -> None:
        try:
            async with asyncio.timeout(OPENING) as opening:
                client = Client(
                    self._streams(self.end),  # pyright: ignore[reportArgumentType]
                    cache=None,
                    client_info=Implementation(name="mcp-workflows", version=__version__),
                )
                async with client:
                    opening.reschedule(None)
                    # An answer that breaks its own schema was given all the same: it is not for the SDK to drop it.
                    client.session.validate_tool_result = _taken_as_it_is
                    self._client = client
                    self._settled.set()
                    self.used()
                    await self._until_over()
        except asyncio.CancelledError:
            self._failure = Failure("connect", f"{self.name} is being closed", retryable=True)
            raise
        except BaseException as error:  # noqa: BLE001  # whatever ends a session ends it alone
            self._failure = _why(error, self.name, self.wire)
            if self._client is not None:
                _log.warning("the session with %s ended: %s", self.name, self._failure.message)
        finally:
            self.over = True
            self._settled.set()

    async def _until_over(self) -> None:
        loop = asyncio.get_running_loop()
        while not self.over:
            left = self._used_at + IDLE - loop.time()
            if left <= 0 and not self.users:
                self.over = True
                return
            try:
                async with asyncio.timeout(max(left, 1.0)):
                    await self._end.wait()
            except TimeoutError:
                continue


class Sessions:
    """Every session of this process."""

    def __init__(self) -> None:
        self._open: dict[Hashable, Session] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    def take(self, key: Hashable, make: Callable[[], Session]) -> Session:
        """The session for ``key``: the one that is there, or a new one, which is only beginning to open."""
        session = self._open.get(key)
        if session is None or session.over:
            session = self._open[key] = make()
            self._ending.add(session.task)
            session.task.add_done_callback(lambda task: self._gone(key, session, task))
        return session

    def _gone(self, key: Hashable, session: Session, task: asyncio.Task[None]) -> None:
        self._ending.discard(task)
        if self._open.get(key) is session:
            del self._open[key]

    async def close(self) -> None:
        """Ends them all, with what runs in them."""
        for session in self._open.values():
            session.end()
        if self._ending:
            _, late = await asyncio.wait(self._ending, timeout=CLOSING)
            for task in late:
                task.cancel()


async def _taken_as_it_is(name: str, result: Any) -> None:  # noqa: ARG001  # the signature is the SDK's
    return None


def _why(error: BaseException, name: str, wire: Wire | None) -> Failure:
    """Why a session could not be opened, or ended. At that point no tool had been asked for anything."""
    causes = list(_leaves(error))
    for cause in causes:
        if isinstance(cause, MCPError):
            known = wire.failure_of(cause.data) if wire is not None else None
            if known is not None:
                return Failure(known.code, known.message, False, known.retryable, known.status, known.retry_after)
    for cause in causes:
        match cause:
            case MCPError():
                return Failure("connect", f"{name} opens no session: {cause.message}", retryable=True)
            case TimeoutError():
                return Failure("connect", f"{name} opened no session within {OPENING:g} s", retryable=True)
            case OSError():
                why = cause.strerror or type(cause).__name__
                return Failure("connect", f"{name} cannot be started: {why}", retryable=True)
            case _:
                pass
    return Failure("connect", f"{name} opens no session: {type(causes[0]).__name__}: {causes[0]}", retryable=True)


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in _leaves(part)]  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType, reportUnknownArgumentType]
    return [error]
