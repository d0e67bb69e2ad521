"""Connections: opened to where the guard allows, lent to one exchange at a time, and kept a while for the next.

aiohttp's connector opens them (names, addresses in parallel, TLS) and gives each its protocol, which parses what comes. Its
own pool is not used: it knows neither which connection is new nor what lies in its socket, and its requests and sessions
cost several times what the bytes on the wire do.
"""

from __future__ import annotations

import asyncio
import os
import select
import ssl
from collections import deque
from functools import lru_cache

from aiohttp import ClientError, ClientRequest, ClientTimeout, TCPConnector
from aiohttp.client_exceptions import ClientConnectorError
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from yarl import URL

from mcp_workflows.steps.guard import Guard, GuardedResolver
from mcp_workflows.steps.request import Origin

IDLE_SECONDS = 4.0
"""How long an idle connection is kept: less than the 5 s after which common servers (uvicorn, Node) hang up, so that
a request rarely meets a connection that is just being closed."""


class NotConnected(Exception):
    """No connection came about; nothing was sent."""


class Line:
    """One connection, as long as it lasts."""

    __slots__ = ("_connection", "_poll", "idle_since", "origin", "protocol")

    def __init__(self, origin: Origin, connection: Connection) -> None:
        protocol = connection.protocol
        assert protocol is not None
        self.origin = origin
        self.protocol = protocol
        self.idle_since = 0.0
        self._connection = connection
        self._poll = _asking(protocol)
        _read_its_end(protocol)

    def fit(self) -> bool:
        """Nothing lies in the socket before anything was asked, neither its end nor an answer to nobody; and nothing of an
        earlier request still waits to be sent."""
        transport = self.protocol.transport
        if transport is None or transport.is_closing() or self.protocol.should_close:
            return False
        return not transport.get_write_buffer_size() and (self._poll is None or not self._poll.poll(0))

    def close(self) -> None:
        """May be repeated."""
        self._connection.close()


class Pool:
    """All connections of a client. Its first use opens it, in that event loop."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._connector: TCPConnector | None = None
        self._idle: dict[Origin, deque[Line]] = {}
        """The one that was used last is at the end."""
        self._sweeping: asyncio.TimerHandle | None = None

    async def take(self, origin: Origin, url: URL, connect_timeout: float) -> Line:
        """A connection that is fit for use, as far as can be seen from here. Raises ``AddressBlocked``, ``NotConnected``.

        A used one that has died or speaks out of turn is dropped now: once something is sent on it, the effect would be
        in doubt, or the answer another request's.
        """
        idle = self._idle.get(origin)
        if idle:
            oldest = asyncio.get_running_loop().time() - IDLE_SECONDS
            while idle:
                line = idle.pop()
                if line.idle_since >= oldest and line.fit():
                    return line
                line.close()
        return await self._open(origin, url, connect_timeout)

    async def _open(self, origin: Origin, url: URL, connect_timeout: float) -> Line:
        loop = asyncio.get_running_loop()
        if self._connector is None:
            self._connector = TCPConnector(
                resolver=GuardedResolver(self._guard),
                socket_factory=self._guard.open_socket,
                force_close=True,  # what it gets back is done with
                limit=0,
            )
        try:
            wanted = ClientRequest("GET", url, loop=loop)
            return Line(origin, await self._connector.connect(wanted, traces=[], timeout=_timeouts(connect_timeout)))
        except TimeoutError:
            raise NotConnected("it took longer than the connect timeout") from None
        except (ClientError, OSError) as error:
            raise NotConnected(reason(error)) from None

    def give_back(self, line: Line) -> None:
        """Keeps the connection, if its last answer is complete and allows it."""
        if line.protocol.should_close or self._connector is None:
            line.close()
            return
        loop = asyncio.get_running_loop()
        line.idle_since = loop.time()
        idle = self._idle.get(line.origin)
        if idle is None:
            idle = self._idle[line.origin] = deque()
        idle.append(line)
        if self._sweeping is None:
            self._sweeping = loop.call_later(IDLE_SECONDS, self._sweep)

    def _sweep(self) -> None:
        """Closes what nobody has used for too long."""
        loop = asyncio.get_running_loop()
        oldest = loop.time() - IDLE_SECONDS
        for origin, idle in list(self._idle.items()):
            while idle and idle[0].idle_since <= oldest:
                idle.popleft().close()
            if not idle:
                del self._idle[origin]
        self._sweeping = loop.call_later(IDLE_SECONDS, self._sweep) if self._idle else None

    async def close(self) -> None:
        """Closes all connections, also those that are lent."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        for idle in self._idle.values():
            for line in idle:
                line.close()
        self._idle.clear()
        connector, self._connector = self._connector, None
        if connector is not None:
            await connector.close()


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


def reason(error: BaseException) -> str:
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
