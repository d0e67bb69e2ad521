"""The HTTP under the SDK's client: our own connections, so that the guard sees every address and nothing is sent twice.

The SDK's transport ends its session, with every other call in it, when an HTTP request raises. So nothing is raised to it:
what goes wrong with a request is told as the JSON-RPC error that answers it, and what it was is looked up by the token in
that error.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Final, cast
from uuid import uuid4

import httpx2
from aiohttp import ClientError
from yarl import URL

from mcp_workflows.clock import Clock
from mcp_workflows.steps import verdict
from mcp_workflows.steps.body import read_body
from mcp_workflows.steps.client import Broken, Client, NotHttp, Response
from mcp_workflows.steps.guard import AddressBlocked, Guard
from mcp_workflows.steps.mcp_tool.failure import SESSION_GONE, Failure
from mcp_workflows.steps.pool import NotConnected
from mcp_workflows.steps.request import Request

_SESSION_ID: Final = "mcp-session-id"
_TOKEN: Final = "mcp-workflows-failure"  # noqa: S105  # a key, no password
_UNREAD: Final = 1000
_ENVELOPE: Final = 64 << 10
"""Bytes of an answer beside what the tool gives."""


class Wire(httpx2.AsyncBaseTransport):
    """What the SDK sends goes through ``client``, to where ``guard`` allows."""

    def __init__(self, client: Client, guard: Guard, clock: Clock, *, connect_timeout: float, limit: int) -> None:
        self._client = client
        self._guard = guard
        self._clock = clock
        self._connect_timeout = connect_timeout
        self._limit = limit
        self._failures: dict[str, Failure] = {}

    def failure_of(self, data: Any) -> Failure | None:
        """What an error that this wire made up stands for; ``None`` for an error of the server's."""
        token = cast("dict[str, Any]", data).get(_TOKEN) if isinstance(data, dict) else None
        return self._failures.pop(token, None) if isinstance(token, str) else None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        body = await request.aread()
        asked = _asked(body) if request.method == "POST" else None
        if request.method == "GET" and "last-event-id" not in request.headers:
            return httpx2.Response(405, request=request)  # a stream for what the server says unasked: nothing is for us
        try:
            response = await self._send(request, body)
        except _Failed as failed:
            return self._told(request, asked, failed.failure)
        if asked is None or 300 <= response.status < 400 or _streams(response):
            return _passed_on(request, response)
        try:
            return await self._answer(request, asked, response)
        finally:
            response.release()

    async def _send(self, request: httpx2.Request, body: bytes) -> Response:
        sent = False

        def on_sent() -> None:
            nonlocal sent
            sent = True

        url = URL(str(request.url), encoded=True)
        skipped = {"host", "content-length", "connection", "accept-encoding", "transfer-encoding"}
        headers = {name: value for name, value in request.headers.items() if name.lower() not in skipped}
        headers["Accept-Encoding"] = "identity"  # what comes as a stream is not looked into here
        try:
            self._guard.check_url(url)
            wired = Request(request.method, url, headers, body or None, {})
            return await self._client.send(wired, self._connect_timeout, on_sent)
        except AddressBlocked as blocked:
            raise _Failed(Failure("blocked_address", str(blocked))) from None
        except NotConnected as failure:
            why = f"no connection to {url.host_port_subcomponent}: {failure}"
            raise _Failed(Failure("connect", why, retryable=True)) from None
        except Broken as failure:
            why = f"the connection broke before an answer came ({failure})"
            raise _Failed(Failure("reset", why, in_doubt=True, retryable=True)) from None
        except NotHttp as failure:
            raise _Failed(
                Failure("answer_unreadable", f"what came back is no HTTP answer ({failure})", in_doubt=sent)
            ) from None

    async def _answer(self, request: httpx2.Request, asked: Any, response: Response) -> httpx2.Response:
        status = response.status
        body = await read_body(response, self._limit + _ENVELOPE, beginning=status >= 400)
        message = _message(body.raw)
        if _SESSION_ID in request.headers and _forgotten(status, body.raw):
            return self._told(request, asked, Failure(SESSION_GONE, "the server does not know the session any more"))
        if status < 300 and body.trouble is not None:
            why = f"the answer's body {body.trouble}"
            return self._told(
                request, asked, Failure(body.code, why, in_doubt=True, retryable=body.retryable, status=status)
            )
        if message is not None and (status < 300 or "error" in message):
            headers = {"content-type": "application/json"}
            if _SESSION_ID in response.headers:
                headers[_SESSION_ID] = response.headers[_SESSION_ID]
            return httpx2.Response(status, headers=headers, content=body.raw, request=request)
        if status < 400:
            why = f"it answered {status} with what is no answer of an MCP server"
            return self._told(request, asked, Failure("answer_unreadable", why, in_doubt=True, status=status))
        text = body.raw[:2000].decode("utf-8", "replace")
        return self._told(
            request,
            asked,
            Failure(
                f"http_{status}",
                verdict.explained("the server", status, text),
                in_doubt=not verdict.refused(status),
                retryable=verdict.retryable(status),
                status=status,
                retry_after=verdict.retry_after(response.headers.get("Retry-After"), self._clock()),
            ),
        )

    def _told(self, request: httpx2.Request, asked: Any, failure: Failure) -> httpx2.Response:
        if asked is None:
            if request.method == "GET":
                raise httpx2.ReadError(failure.message, request=request)
            # A notification, or a farewell: nobody waits for an answer.
            return httpx2.Response(202 if request.method == "POST" else 204, request=request)
        token = uuid4().hex
        self._failures[token] = failure
        if len(self._failures) > _UNREAD:  # of attempts that were cancelled meanwhile: nobody asks for them
            del self._failures[next(iter(self._failures))]
        error = {"code": -32000, "message": failure.message, "data": {_TOKEN: token}}
        answer = {"jsonrpc": "2.0", "id": asked, "error": error}
        return httpx2.Response(502, json=answer, request=request)


class _Failed(Exception):
    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class _Stream(httpx2.AsyncByteStream):
    """The body of an answer as it comes."""

    def __init__(self, response: Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (ClientError, OSError) as error:
            raise httpx2.ReadError(str(error)) from None

    async def aclose(self) -> None:
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


def _passed_on(request: httpx2.Request, response: Response) -> httpx2.Response:
    """With its body still to come, and packed if it is: httpx2 unpacks it."""
    dropped = {"content-length", "transfer-encoding"}
    headers = [(name, value) for name, value in response.headers.items() if name.lower() not in dropped]
    return httpx2.Response(response.status, headers=headers, stream=_Stream(response), request=request)


def _streams(response: Response) -> bool:
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return response.status < 300 and kind == "text/event-stream"


def _asked(body: bytes) -> Any:
    """The id of a JSON-RPC request, ``None`` for a notification or an answer."""
    message = json.loads(body)
    return message.get("id") if isinstance(message, dict) and "method" in message else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def _message(raw: bytes) -> dict[str, Any] | None:
    """The body as a JSON-RPC answer, ``None`` for anything else."""
    try:
        message = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict):
        return None
    answer = cast("dict[str, Any]", message)
    return answer if answer.get("jsonrpc") == "2.0" and ("result" in answer or "error" in answer) else None


def _forgotten(status: int, raw: bytes) -> bool:
    """404 says so by the specification; many servers, made after a well-known example, say 400."""
    return status == 404 or (status == 400 and b"session" in raw[:2000].lower())
