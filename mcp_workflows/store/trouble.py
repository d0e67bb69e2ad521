"""Whether the database can be used: logged once when it cannot, and once when it can again."""

from __future__ import annotations

import logging
import threading
import time

logger = logging.getLogger(__name__)

READING, WRITING = "reading", "writing"


class Trouble:
    """Of one process with its database, in one or more ways of using it at once. Any thread may tell."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}
        self._began: dict[str, float] = {}
        self._since = 0.0
        self._lock = threading.Lock()

    @property
    def text(self) -> str | None:
        """What is wrong now, and what to do; ``None``: nothing."""
        with self._lock:
            return next(iter(self._said.values()), None)

    def seconds(self, way: str) -> float:
        """Since it began; 0 without any."""
        began = self._began.get(way)
        return 0.0 if began is None else time.monotonic() - began

    def begin(self, way: str, text: str) -> None:
        """Or go on, for another reason perhaps."""
        with self._lock:
            if not self._said:
                self._since = time.monotonic()
                logger.warning("%s", text)
            self._said[way] = text
            self._began.setdefault(way, time.monotonic())

    def end(self, way: str) -> None:
        if way not in self._said:  # nearly always
            return
        with self._lock:
            self._said.pop(way, None)
            self._began.pop(way, None)
            if not self._said:
                logger.warning("the database can be used again, after %.1f s", time.monotonic() - self._since)
