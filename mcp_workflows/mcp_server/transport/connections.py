"""What one connection may cost: how long its client may take to ask and to listen, and how many there may be.

Whoever reaches the address can open connections, before any token is looked at. So one that does not get on with its request is
ended, one whose client leaves its answer untaken is cut off, and where there are as many as may be, one on which nothing is
asked makes room for the next. The descriptors that runs need stay free.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

if sys.platform != "win32":
    import resource

logger = logging.getLogger(__name__)

Stage: TypeAlias = tuple[Literal["asking", "sending", "answered"], object]
"""How far the client is with its request, and with which: it has not asked yet, sends a body, or is being answered."""

_MOST_WISHED: Final = 65_536
_MAKING_ROOM: Final = 16
"""So many at a time, as looking for them costs."""
_NO_LINGER: Final = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Seconds and bytes. ``most``: connections at the same time."""

    most: int = 4000
    asking: float = 10.0
    """To send the head of a request, from the connection's begin or the last answer on."""
    sending: float = 60.0
    """To send its body."""
    taking: float = 20.0
    """To take ``portion`` bytes of what is to be read."""
    portion: int = 16 << 10
    unread: int = 64 << 20
    """Of all that clients have not taken; beyond that who has not listened for longest is cut off."""
    look: float = 1.0
    """How often connections are looked at."""

    @property
    def most_each(self) -> int:
        """Requests of one actor at the same time, so that no actor takes all connections."""
        return max(self.most // 4, 1)


class Connection(H11Protocol):
    """Remembers since when it has been where it is. ``bounds`` are those of all."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        bounds: Bounds,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._bounds = bounds
        self._stage: Stage = ("asking", None)
        self.since = self.loop.time()
        """When it came to its stage, as far as it was looked at."""
        self._left = 0
        """Of what is to be read, when the client last took enough of it."""
        self.untaken_since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        if len(self.connections) > self._bounds.most:
            idle = [one for one in _own(self.connections) if one.is_idle and one is not self]
            for one in sorted(idle, key=lambda one: one.since)[:_MAKING_ROOM] or [self]:
                one.cut_off()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.untaken_since = None

    @property
    def is_idle(self) -> bool:
        """Nobody is owed an answer here."""
        return self.cycle is None or self.cycle.response_complete  # pyright: ignore[reportUnnecessaryComparison]

    @property
    def unread(self) -> int:
        return self.transport.get_write_buffer_size()

    def look(self, now: float) -> None:
        """End it if its client has taken too long. To be called again and again."""
        stage = self._now()
        if stage != self._stage:
            self._stage, self.since = stage, now
        if self._is_untaken(now):
            self.cut_off()
        elif not self.transport.is_closing() and now - self.since >= self._allowed(stage):
            self.transport.close()  # what it has not taken yet is looked at from here on

    def cut_off(self) -> None:
        """At once, with what is still to be read: closing, here or in the kernel, would wait for that."""
        plug: socket.socket | None = self.transport.get_extra_info("socket")
        if plug is not None:
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.transport.abort()

    def _now(self) -> Stage:
        if self.conn.their_state is h11.SEND_BODY:
            return "sending", self.cycle
        return ("asking" if self.is_idle else "answered"), self.cycle

    def _allowed(self, stage: Stage) -> float:
        match stage[0]:
            case "asking":
                return self._bounds.asking
            case "sending":
                return self._bounds.sending
            case "answered":
                return float("inf")

    def _is_untaken(self, now: float) -> bool:
        left = self.unread
        if left == 0:
            self.untaken_since = None
        elif self.untaken_since is None or left <= self._left - self._bounds.portion:
            self._left, self.untaken_since = left, now
        self._left = max(self._left, left) if left else 0
        return self.untaken_since is not None and now - self.untaken_since >= self._bounds.taking


async def watch(connections: Iterable[object], bounds: Bounds) -> None:
    """Look at all of them until cancelled."""
    now = asyncio.get_running_loop().time
    while True:
        await asyncio.sleep(bounds.look)
        for one in _own(connections):
            one.look(now())
        _bound_unread(_own(connections), bounds)


def _bound_unread(connections: list[Connection], bounds: Bounds) -> None:
    waiting = [(one.untaken_since, one.unread, one) for one in connections if one.untaken_since is not None]
    left = sum(unread for _, unread, _ in waiting)
    for _, unread, one in sorted(waiting, key=lambda each: each[0]):
        if left <= bounds.unread:
            return
        one.cut_off()
        left -= unread
        logger.warning("a client was cut off: those who do not read what they asked for leave %d bytes to keep", left)


def _own(connections: Iterable[object]) -> list[Connection]:
    return [one for one in connections if isinstance(one, Connection)]


def descriptors() -> int:
    """How many files and connections this process may have open, after asking for as many as it is allowed to."""
    if sys.platform == "win32":
        return _MOST_WISHED
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wished = _MOST_WISHED if hard == resource.RLIM_INFINITY else min(_MOST_WISHED, hard)
    if soft != resource.RLIM_INFINITY and soft < wished:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wished, hard))
        soft = wished
    return _MOST_WISHED if soft == resource.RLIM_INFINITY else soft


def room_beside(kept_free: int) -> int:
    """For how many connections there are descriptors, when ``kept_free`` of them are for something else."""
    return max(descriptors() - kept_free, 16)
