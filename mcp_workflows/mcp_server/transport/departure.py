"""How an HTTP server goes away without a client noticing more than that the next call meets another one.

Nobody new is let in. Whoever is there is answered, and told with the answer that it is the connection's last, so that the
next call opens a new one, elsewhere. Only then are connections closed: a call that is on its way at that moment is lost, and
its client cannot know whether it was heard.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SEEING_OFF_SECONDS = 0.5
"""For connections on which nothing is asked at the moment; a busy client asks again before that."""


class Uvicorn(uvicorn.Server):
    """Leaves signals to the application, which has more to end than this."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    def let_nobody_in(self) -> None:
        """New connections are refused from here on."""
        if self.started:
            for server in self.servers:
                server.close()

    async def see_off(self) -> None:
        """Until nobody is left, but not for long."""
        until = time.monotonic() + SEEING_OFF_SECONDS
        while self.server_state.connections and time.monotonic() < until:  # noqa: ASYNC110  (uvicorn tells nobody)
            await asyncio.sleep(0.01)


class LastAnswers:
    """Says with each answer that the connection ends with it, once the service is about to go."""

    def __init__(self, app: ASGIApp, stopping: asyncio.Event) -> None:
        self._app = app
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_as_last(message: Message) -> None:
            if message["type"] == "http.response.start" and self._stopping.is_set():
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        await self._app(scope, receive, send_as_last if scope["type"] == "http" else send)


class EndStreams:
    """Ends the streams that clients keep open for notices when the service stops: nothing else would, and it would wait."""

    def __init__(self, app: ASGIApp, stopping: asyncio.Event) -> None:
        self._app = app
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return

        unfinished = False

        async def receive_or_stop() -> Message:
            received = asyncio.ensure_future(receive())
            stopped = asyncio.ensure_future(self._stopping.wait())
            try:
                await asyncio.wait({received, stopped}, return_when=asyncio.FIRST_COMPLETED)
                return received.result() if received.done() else {"type": "http.disconnect"}
            finally:
                received.cancel()
                stopped.cancel()

        async def send_and_note(message: Message) -> None:
            nonlocal unfinished
            unfinished = message["type"] == "http.response.start" or message.get("more_body", False)
            await send(message)

        await self._app(scope, receive_or_stop, send_and_note)
        if unfinished and self._stopping.is_set():
            await send({"type": "http.response.body", "body": b"", "more_body": False})
