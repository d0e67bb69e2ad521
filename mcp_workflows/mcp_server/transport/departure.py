"""How an HTTP server goes away without a client noticing more than that the next call meets another one.

Nobody new is let in. Whoever is there is answered, and told with the answer that it is the connection's last, so that the
next call opens a new one, elsewhere. Only then are connections closed: a call that is on its way at that moment is lost, and
its client cannot know whether it was heard.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mcp_workflows.mcp_server.transport.ending import run_until

SEEING_OFF_SECONDS = 0.5
"""For connections on which nothing is asked at the moment; a busy client asks again before that."""
_LAST_WORD_SECONDS = 0.1
"""For a client that does not read."""
_GOING = "the server is stopping, and does not know whether this was done: ask again"


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
    """Says with each answer that the connection ends with it, once the service is about to go.

    Whoever cannot be answered in time, as when the database is away just then, is told to ask again; a stream that has
    begun ends, and its client sees that no result came.
    """

    def __init__(self, app: ASGIApp, stopping: asyncio.Event) -> None:
        self._app = app
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = unfinished = False

        async def send_as_last(message: Message) -> None:
            nonlocal begun, unfinished
            unfinished = message["type"] == "http.response.start" or message.get("more_body", False)
            if message["type"] == "http.response.start":
                begun = True
                if self._stopping.is_set():
                    message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send_as_last)
        except asyncio.CancelledError:
            if not self._stopping.is_set():
                raise
            if unfinished:
                # Of an answer with a length this is refused, and its connection closed; nobody takes it for whole either way.
                with contextlib.suppress(Exception):
                    await asyncio.wait_for(send({"type": "http.response.body", "body": b""}), _LAST_WORD_SECONDS)
            if begun:
                return
            answer = JSONResponse({"error": _GOING}, status_code=503, headers={"Retry-After": "1"})
            await answer(scope, receive, send_as_last)


class EndStreams:
    """Ends the streams that clients keep open for notices when the service stops: nothing else would, and it would wait."""

    def __init__(self, app: ASGIApp, stopping: asyncio.Event) -> None:
        self._app = app
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
        else:
            await run_until(self._stopping, self._app, scope, receive, send)
