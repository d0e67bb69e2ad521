"""One HTTP exchange: sends a request once, and tells what is known when it fails.

Requests are written here, byte for byte, and answers are parsed by aiohttp's protocol. Its session and its requests are left
out: they cost several times what the exchange itself does, and the session sends some requests a second time behind the
caller's back. Here the phases are apart: connecting, where nothing is sent and anything may be tried again; then the one
moment from which on the service may have acted; then the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from aiohttp import ClientConnectionError, ClientError, StreamReader
from aiohttp.client_exceptions import ClientConnectionResetError
from aiohttp.http_exceptions import HttpProcessingError

from mcp_workflows.steps.guard import Guard
from mcp_workflows.steps.pool import Line, Pool, reason
from mcp_workflows.steps.request import Request

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy

_ONE_WRITE = 1 << 15
"""Bytes of a body that are copied, so as to leave together with the head."""
_LONGEST_REASON = 120
_NO_LENGTH = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods of which nobody expects a body (RFC 9110, 8.6)."""


class Broken(Exception):
    """The connection broke after the request may have left."""


class NotHttp(Exception):
    """What came back is no HTTP answer."""


class Response:
    """An answer whose head has come. To be released or closed; either may be repeated."""

    __slots__ = ("_line", "_pool", "content", "headers", "method", "protocol", "status")

    def __init__(
        self, method: str, status: int, headers: CIMultiDictProxy[str], content: StreamReader, line: Line, pool: Pool
    ) -> None:
        self.method = method
        self.status = status
        self.headers = headers
        self.content = content
        """The body, packed, as it comes."""
        self.protocol = line.protocol
        self._line: Line | None = line
        self._pool = pool

    @property
    def content_length(self) -> int | None:
        """As the answer has it, of the packed body."""
        length = self.headers.get("Content-Length")
        return None if length is None else int(length)

    def broke_off(self) -> bool:
        """Its body, which ends with the connection, ended with one that broke: nobody knows whether it is all of it."""
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            return False
        closed = self.protocol.closed
        return closed is not None and closed.done() and not closed.cancelled() and closed.exception() is not None

    def release(self) -> None:
        """Its connection serves the next request, if the whole body has come."""
        line, self._line = self._line, None
        if line is None:
            return
        if self.content.is_eof():
            self._pool.give_back(line)
        else:
            self._break(line)

    def close(self) -> None:
        """What has not come yet never comes."""
        line, self._line = self._line, None
        if line is not None:
            self._break(line)

    def _break(self, line: Line) -> None:
        if not self.content.is_eof() and self.content.exception() is None:
            self.content.set_exception(ClientConnectionError("the connection was closed"))
        line.close()


class Client:
    """The process's connections. Proxies and ``.netrc`` of the environment are not read, cookies are not kept."""

    def __init__(self, guard: Guard) -> None:
        self._pool = Pool(guard)

    async def send(self, request: Request, connect_timeout: float, on_sent: Callable[[], None]) -> Response:
        """The answer's head; redirects are not followed.

        ``on_sent`` is called right before the first byte may leave, once. Raises ``AddressBlocked``, ``NotConnected``,
        ``Broken`` and ``NotHttp``.
        """
        head, body = _head(request), request.body or b""
        line = await self._pool.take(request.origin, request.url, connect_timeout)
        on_sent()
        try:
            return await self._exchange(request.method, head, body, line)
        except BaseException as error:
            line.close()
            if isinstance(error, HttpProcessingError):
                raise NotHttp(_on_one_line(error.message)) from error
            if isinstance(error, ClientConnectionError | OSError):
                raise Broken(reason(error)) from error
            if isinstance(error, ClientError):
                raise NotHttp(reason(error)) from error
            raise

    async def _exchange(self, method: str, head: bytes, body: bytes, line: Line) -> Response:
        protocol = line.protocol
        transport = protocol.transport
        if transport is None or transport.is_closing():
            raise ClientConnectionResetError("the connection closed before the request was sent")
        protocol.set_response_params(skip_payload=method == "HEAD", read_until_eof=True, auto_decompress=False)
        if len(body) <= _ONE_WRITE:
            transport.write(head + body)
        else:
            # Not waited for: a service may refuse it without reading to the end.
            transport.write(head)
            transport.write(body)
        while True:
            message, content = await protocol.read()
            if message.code >= 200 or message.code == 101:
                return Response(method, message.code, message.headers, content, line, self._pool)

    async def close(self) -> None:
        await self._pool.close()


def _on_one_line(message: str) -> str:
    """aiohttp quotes what came on lines of its own, with a caret below."""
    lines = (line.strip() for line in message.splitlines())
    text = " ".join(line for line in lines if line.strip("^"))
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}…"


def _head(request: Request) -> bytes:
    """Up to the empty line. Raises ``ValueError`` for what would be more than that; ``Request`` does not hold it."""
    url, headers, body = request.url, request.headers, request.body
    lines = [f"{request.method} {url.raw_path_qs} HTTP/1.1", f"Host: {url.host_port_subcomponent}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body is not None or request.method not in _NO_LENGTH:
        lines.append(f"Content-Length: {len(body or b'')}")
    text = "\r\n".join(lines)
    if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1 or "\0" in text:
        raise ValueError("a line of the request's head holds a control character")
    return f"{text}\r\n\r\n".encode()
