"""Moves SQLite's write-ahead log into the database, in a thread and on a connection of its own.

Nobody's commit pays for it but by the moment in which the lock is held.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Protocol

from mcp_workflows.store.jobs import Job
from mcp_workflows.store.locks import Lock

logger = logging.getLogger(__name__)

DUE_BYTES = 16 * 1024 * 1024
"""Of the log, about, as far as this process has written it."""
BYTES_PER_ROW = 250
BYTES_PER_COMMIT = 12_000
"""What a commit writes whatever it holds: at least a page of each table and index that it touches."""


class Logged(Protocol):
    """A database with a log that somebody must move into it."""

    @property
    def errors(self) -> tuple[type[Exception], ...]: ...
    def lock(self) -> Lock: ...
    def checkpoint(self) -> None: ...


class Checkpoints(threading.Thread):
    """Runs a checkpoint whenever enough was written."""

    def __init__(self, database: Logged) -> None:
        super().__init__(name="mcp-workflows-checkpoints", daemon=True)
        self._database = database
        self._lock = database.lock()
        self._written = 0
        self._due = threading.Event()
        self._closing = False

    def written(self, jobs: Sequence[Job]) -> None:
        """The writer has committed ``jobs``, in one transaction."""
        self._written += BYTES_PER_COMMIT
        for job in jobs:
            self._written += job.size + job.rows * BYTES_PER_ROW
        if self._written >= DUE_BYTES:
            self._due.set()

    def close(self) -> None:
        self._closing = True
        self._due.set()

    def run(self) -> None:
        while True:
            self._due.wait()
            self._due.clear()
            if self._closing:
                break
            self._written = 0
            try:
                with self._lock:
                    self._database.checkpoint()
            except self._database.errors as error:  # the log grows; the writer says what is wrong with the database
                logger.warning("no checkpoint: %s", error)
        self._lock.close()
