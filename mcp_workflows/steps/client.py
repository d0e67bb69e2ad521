"""One HTTP exchange: sends a request once, and tells what is known when it fails.

The process shares one client, made in the event loop at first use. Three things differ from what aiohttp does by itself:
a request is never sent a second time behind the caller's back; whether it may have left is known at any moment; and a
pooled connection that has died or speaks out of turn is dropped *before* anything is sent on it, because afterwards the
effect would be in doubt, or the answer another request's.
"""

from __future__ import annotations

import select
from collections.abc import Awaitable, Callable
from functools import lru_cache

from aiohttp import (
    ClientConnectionError,
    ClientConnectorError,
    ClientError,
    ClientRequest,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    TCPConnector,
)
from aiohttp.connector import Connection
from yarl import URL

from mcp_workflows.steps.guard import Guard, GuardedResolver
from mcp_workflows.steps.request import Request

IDLE_SECONDS = 4.0
"""How long an idle connection is kept: less than the 5 s after which common servers (uvicorn, Node) hang up, so that
a request rarely meets a connection that is just being closed."""
_STALE_TRIES = 8


class NotConnected(Exception):
    """No connection came about; nothing was sent."""


class Broken(Exception):
    """The connection broke after the request may have left."""


class NotHttp(Exception):
    """What came back is no HTTP answer."""


class _StaleConnection(Exception):
    """A pooled connection is of no use; nothing was sent on it."""


class _Request(ClientRequest):
    """Says so before any of it may leave this process."""

    exchange: Exchange | None = None

    async def send(self, conn: Connection) -> ClientResponse:
        protocol = conn.protocol
        if protocol is None or protocol.should_close or not protocol.is_connected() or _readable(conn):
            raise _StaleConnection
        if self.exchange is not None:
            self.exchange.leave()
        return await super().send(conn)


def _readable(conn: Connection) -> bool:
    """Something lies in the socket before anything was asked: the end of the connection, or an answer to nobody.

    Not asked of TLS, where session tickets arrive unasked.
    """
    transport = conn.transport
    if transport is None or transport.get_extra_info("sslcontext") is not None:
        return False
    sock = transport.get_extra_info("socket")
    if sock is None or not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    return bool(poll.poll(0))


class Exchange:
    """One request. ``sent``: it may have left; then, and only then, the service may have acted.

    ``on_sent`` is called right before the first byte is written.
    """

    __slots__ = ("_on_sent", "sent")

    def __init__(self, on_sent: Callable[[], None]) -> None:
        self.sent = False
        self._on_sent = on_sent

    def leave(self) -> None:
        self.sent = True
        self._on_sent()

    async def __call__(
        self, request: ClientRequest, handler: Callable[[ClientRequest], Awaitable[ClientResponse]]
    ) -> ClientResponse:
        """Stands between the client and the connection: what goes wrong here is translated once and never retried."""
        assert isinstance(request, _Request)
        request.exchange = self
        for _ in range(_STALE_TRIES):
            try:
                return await handler(request)
            except _StaleConnection:
                continue
            except ConnectionTimeoutError:
                raise NotConnected("no connection within the connect timeout") from None
            except ClientConnectorError as error:
                raise NotConnected(_reason(error)) from None
            except (ClientConnectionError, OSError) as error:
                if not self.sent:
                    raise NotConnected(_reason(error)) from None
                raise Broken(_reason(error)) from error
        raise NotConnected("every pooled connection was dead")


def _reason(error: BaseException) -> str:
    """What the system says, without the addresses and objects that the library's texts are full of."""
    cause: BaseException = error
    while isinstance(cause, ClientConnectorError):
        cause = cause.os_error
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return str(cause) or type(cause).__name__


class Client:
    """The process's HTTP client. Proxies and ``.netrc`` of the environment are not read, cookies are not kept."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._session: ClientSession | None = None

    async def send(self, exchange: Exchange, request: Request, connect_timeout: float) -> ClientResponse:
        """The answer's head; redirects are not followed.

        Raises ``AddressBlocked``, ``NotConnected``, ``Broken`` and ``NotHttp``.
        """
        session = self._session or self._open()
        try:
            return await session.request(
                request.method,
                request.url,
                data=request.payload,
                headers=request.headers,
                allow_redirects=False,
                timeout=_timeouts(connect_timeout),
                middlewares=(exchange,),
            )
        except ClientError as error:
            raise NotHttp(_reason(error)) from error

    def _open(self) -> ClientSession:
        connector = TCPConnector(
            resolver=GuardedResolver(self._guard),
            socket_factory=self._guard.open_socket,
            keepalive_timeout=IDLE_SECONDS,
            limit=0,
        )
        self._session = ClientSession(
            connector=connector,
            cookie_jar=DummyCookieJar(),
            request_class=_Request,
            trust_env=False,
            skip_auto_headers=("Content-Type",),
            requote_redirect_url=False,
        )
        return self._session

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()


@lru_cache(maxsize=64)
def _timeouts(connect_timeout: float) -> ClientTimeout:
    """Only connecting is timed here; the whole attempt is timed by ``Steps``. Nothing is rounded up to whole seconds."""
    return ClientTimeout(total=None, connect=connect_timeout, ceil_threshold=float("inf"))


def origin(url: URL) -> tuple[str, str, int | None]:
    return url.scheme, url.raw_host or "", url.port
