"""What PostgreSQL's nodes tell one another: that something was committed which concerns others. Never on the commit's path.

One connection, in a thread of its own, listens and tells. Notices are only hints to look: they carry nothing, several in a row
are one, and one that is lost with a connection is made up for by looking now and then.
"""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import psycopg

from mcp_workflows.store.database import DriverConnection, Grow

logger = logging.getLogger(__name__)

CHANNEL = "mcp_workflows"
LOOK_SECONDS = 1.0
"""After so long without a notice one looks all the same: where nothing can be heard, that is all there is."""
APART_SECONDS = 0.02
"""Between two notices of one node: what is committed meanwhile is told by one."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds between tries to connect."""


class Listener(threading.Thread):
    """Calls ``grow`` for what others tell, whenever it has connected anew, and now and then."""

    poll_seconds = 1.0

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]]) -> None:
        super().__init__(name="mcp-workflows-listener", daemon=True)
        self._connect = connect
        self._grow: Grow | None = None
        self._told = threading.Event()
        self._closing = False
        self._here, self._there = socket.socketpair()
        self._here.setblocking(False)
        self._there.setblocking(False)

    def start(self, grow: Grow | None = None) -> None:
        self._grow = grow
        super().start()

    def look(self, connection: DriverConnection) -> None:
        """The thread looks."""

    def tell(self) -> None:
        if not self._told.is_set():
            self._told.set()
            self._wake()

    def close(self) -> None:
        """What was to be told still is."""
        self._closing = True
        self._wake()

    def run(self) -> None:
        pause = FIRST_PAUSE
        while not self._closing:
            try:
                with closing(self._connect()) as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    pause = FIRST_PAUSE
                    self._changed()
                    self._serve(connection)
            except (psycopg.Error, OSError) as error:  # the writer says what is wrong with the database
                logger.debug("nothing is heard of other nodes: %s", error)
                self._idle(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
        self._here.close()
        self._there.close()

    def _serve(self, connection: psycopg.Connection[Any]) -> None:
        last = 0.0
        while True:
            if self._told.is_set():
                self._told.clear()
                connection.execute(f"NOTIFY {CHANNEL}")
                last = time.monotonic()
                if _heard(connection):  # what came meanwhile was read with the answer, and makes nothing ready any more
                    self._changed()
            if self._closing:
                return
            ready = _ready([connection, self._there], LOOK_SECONDS)
            if self._there in ready:
                self._drain()
                time.sleep(max(0.0, last + APART_SECONDS - time.monotonic()))
            if not ready or _heard(connection):
                self._changed()

    def _changed(self) -> None:
        assert self._grow is not None
        self._grow()

    def _idle(self, seconds: float) -> None:
        """Until it is time to try again, or to end. What cannot be heard may be there all the same."""
        until = time.monotonic() + seconds
        while not self._closing and (left := until - time.monotonic()) > 0:
            if _ready([self._there], min(left, LOOK_SECONDS)):
                self._drain()
            else:
                self._changed()

    def _wake(self) -> None:
        try:
            self._here.send(b".")
        except OSError:  # it is awake anyway, or has ended
            return

    def _drain(self) -> None:
        try:
            while self._there.recv(4096):
                pass
        except BlockingIOError:
            return


def _heard(connection: psycopg.Connection[Any]) -> bool:
    """Whether another node has told something, as far as it has come."""
    me = connection.info.backend_pid
    notices = list(connection.notifies(timeout=0))  # all of them: what is left there would make nothing ready
    return any(notice.pid != me for notice in notices)


def _ready(files: Sequence[Any], seconds: float) -> set[Any]:
    """Those of ``files`` in which something has come, at the latest after ``seconds``."""
    with selectors.DefaultSelector() as selector:
        for file in files:
            selector.register(file, selectors.EVENT_READ)
        return {key.fileobj for key, _ in selector.select(seconds)}
