"""One HTTP exchange: sends a request once, and tells what is known when it fails.

This stands on aiohttp's connector, connections and parser, and leaves out its session, which sends some requests a second
time behind the caller's back and hides whether a request has left. Here the phases are apart: connecting, where nothing
is sent and anything may be tried again; then the one moment from which on the service may have acted; then the answer.
"""

from __future__ import annotations

import asyncio
import os
import select
import ssl
from collections.abc import Callable
from functools import lru_cache
from typing import cast
from weakref import WeakKeyDictionary

from aiohttp import ClientError, ClientRequest, ClientResponse, ClientSession, ClientTimeout, TCPConnector
from aiohttp.client_exceptions import ClientConnectionError, ClientConnectionResetError, ClientConnectorError
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.helpers import TimerNoop
from aiohttp.http import StreamWriter

from mcp_workflows.steps.guard import Guard, GuardedResolver
from mcp_workflows.steps.request import Request

IDLE_SECONDS = 4.0
"""How long an idle connection is kept: less than the 5 s after which common servers (uvicorn, Node) hang up, so that
a request rarely meets a connection that is just being closed."""
_ONE_WRITE = 1 << 15
"""Bytes; below what a transport takes without asking its writer to wait."""


class NotConnected(Exception):
    """No connection came about; nothing was sent."""


class Broken(Exception):
    """The connection broke after the request may have left."""


class NotHttp(Exception):
    """What came back is no HTTP answer."""


class Client:
    """The process's connections. Proxies and ``.netrc`` of the environment are not read, cookies are not kept."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._connector: TCPConnector | None = None
        self._used: WeakKeyDictionary[ResponseHandler, select.poll | None] = WeakKeyDictionary()
        """Every connection that was used, and what asks its socket; ``None`` where that cannot be asked."""

    async def send(self, request: Request, connect_timeout: float, on_sent: Callable[[], None]) -> ClientResponse:
        """The answer's head; redirects are not followed. The response must be released.

        ``on_sent`` is called right before the first byte may leave, once. Raises ``AddressBlocked``, ``NotConnected``,
        ``Broken`` and ``NotHttp``.
        """
        headers = request.headers
        if request.body is not None:
            headers = {**headers, "Content-Length": str(len(request.body))}
        wire = _Wire(
            request.method,
            request.url,
            headers=headers,
            loop=asyncio.get_running_loop(),
        )
        wire.content = request.body or b""
        connection = await self._connect(wire, _timeouts(connect_timeout))
        on_sent()
        try:
            return await _exchange(wire, connection)
        except BaseException as error:
            connection.close()
            if isinstance(error, ClientConnectionError | OSError):
                raise Broken(_reason(error)) from error
            if isinstance(error, ClientError):
                raise NotHttp(_reason(error)) from error
            raise

    async def _connect(self, wire: ClientRequest, timeouts: ClientTimeout) -> Connection:
        """A connection that is fit for use, as far as can be seen from here.

        A used one that has died or speaks out of turn is dropped now: once something is sent on it, the effect would be
        in doubt, or the answer another request's. The pool runs dry in the end, and a new one is taken as it is.
        """
        connector = self._connector or self._open()
        while True:
            try:
                connection = await connector.connect(wire, traces=[], timeout=timeouts)
            except TimeoutError:
                raise NotConnected("it took longer than the connect timeout") from None
            except (ClientError, OSError) as error:
                raise NotConnected(_reason(error)) from None
            protocol = connection.protocol
            assert protocol is not None
            if protocol not in self._used:
                self._used[protocol] = _asking(protocol)
                _read_its_end(protocol)
                return connection
            if _fit(protocol, self._used[protocol]):
                return connection
            connection.close()

    def _open(self) -> TCPConnector:
        self._connector = TCPConnector(
            resolver=GuardedResolver(self._guard),
            socket_factory=self._guard.open_socket,
            keepalive_timeout=IDLE_SECONDS,
            limit=0,
        )
        return self._connector

    async def close(self) -> None:
        connector, self._connector = self._connector, None
        if connector is not None:
            await connector.close()


class _Wire(ClientRequest):
    """A request that leaves at once: its body is whole in memory, so head and body go out in one write.

    aiohttp would start a task for the body, which on Python 3.11 costs a fifth of the whole request.
    """

    content = b""

    async def send(self, conn: Connection) -> ClientResponse:
        protocol = conn.protocol
        assert protocol is not None
        writer = StreamWriter(protocol, self.loop)
        await writer.write_headers(f"{self.method} {self.url.raw_path_qs} HTTP/1.1", self.headers)
        if len(self.content) <= _ONE_WRITE:
            await writer.write_eof(self.content)
        else:
            # Not waited for: a service may refuse it without reading to the end.
            writer.send_headers()
            _write(protocol, self.content)
        return ClientResponse(
            self.method,
            self.url,
            writer=None,
            continue100=None,
            timer=TimerNoop(),
            request_info=self.request_info,
            traces=[],
            loop=self.loop,
            session=cast(
                "ClientSession", None
            ),  # as aiohttp's own tests make it; it would only lend a charset detector
            stream_writer=writer,
        )


def _write(protocol: ResponseHandler, body: bytes) -> None:
    transport = protocol.transport
    if transport is None or transport.is_closing():
        raise ClientConnectionResetError("the connection closed while the request was sent")
    transport.write(body)


async def _exchange(wire: _Wire, connection: Connection) -> ClientResponse:
    protocol = connection.protocol
    assert protocol is not None
    protocol.set_response_params(skip_payload=wire.method == "HEAD", read_until_eof=True)
    response = await wire.send(connection)
    try:
        await response.start(connection)
    except BaseException:
        response.close()
        raise
    return response


def _fit(protocol: ResponseHandler, poll: select.poll | None) -> bool:
    """Nothing lies in the socket before anything was asked, neither its end nor an answer to nobody; and nothing of an
    earlier request still waits to be sent."""
    transport = protocol.transport
    if transport is None or protocol.should_close or transport.is_closing() or transport.get_write_buffer_size():
        return False
    return poll is None or not poll.poll(0)


def _asking(protocol: ResponseHandler) -> select.poll | None:
    """Sockets under TLS are not looked into: session tickets arrive there unasked. Windows has no ``poll``."""
    transport = protocol.transport
    if transport is None or transport.get_extra_info("sslcontext") is not None or not hasattr(select, "poll"):
        return None
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return poll


def _read_its_end(protocol: ResponseHandler) -> None:
    """Asyncio complains of an exception that nobody looked at, and ``closed`` holds one when a connection breaks."""
    closed = protocol.closed
    if closed is not None:
        closed.add_done_callback(lambda future: future.cancelled() or future.exception())


def _reason(error: BaseException) -> str:
    """What the system says, without the addresses and objects that the library's texts are full of."""
    cause: BaseException = error
    while isinstance(cause, ClientConnectorError):
        cause = cause.os_error
    if isinstance(cause, OSError):
        number = 0 if isinstance(cause, ssl.SSLError) else cause.errno or 0
        return os.strerror(number) if number > 0 else cause.strerror or type(cause).__name__
    return str(cause) or type(cause).__name__


@lru_cache(maxsize=64)
def _timeouts(connect_timeout: float) -> ClientTimeout:
    """Only connecting is timed here; the whole attempt is timed by ``Steps``. Nothing is rounded up to whole seconds."""
    return ClientTimeout(total=None, connect=connect_timeout, ceil_threshold=float("inf"))
