"""Requests have one length, and are read whole before anything is done with them.

Of a request that breaks off comes nothing, not even a line in the log.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class OneLength:
    """``app``, for requests whose length is told once.

    A proxy may believe another of two lengths than this server does: then it takes a part of the body for the next request,
    or the next request of somebody else for a part of the body.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and {b"content-length", b"transfer-encoding"} <= {
            name for name, _ in scope["headers"]
        }:
            refusal = PlainTextResponse("this request has two lengths", 400, {"Connection": "close"})
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)


class WholeRequests:
    """``app``, for requests that come whole and are no larger than ``most`` bytes."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        declared = Headers(scope=scope).get("content-length", "0")
        too_large = (
            len(declared) > 15 or int(declared) > self._most
        )  # answered at once; what is sent meanwhile is passed over
        body = bytearray()
        more = not too_large
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return
            body += message.get("body", b"")
            too_large = len(body) > self._most
            more = message.get("more_body", False) and not too_large
        if too_large:
            await PlainTextResponse(f"a request may have {self._most} bytes", 413)(scope, receive, send)
            return
        whole: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def again() -> Message:
            return whole.pop() if whole else await receive()

        await self._app(scope, again, send)
