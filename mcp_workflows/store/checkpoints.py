"""Moves SQLite's write-ahead log into the database, in a thread and on a connection of its own.

Nobody's commit pays for it but by the moment in which the lock is held.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from mcp_workflows.store.jobs import Job
from mcp_workflows.store.sqlite import Sqlite

logger = logging.getLogger(__name__)

DUE_BYTES = 16 * 1024 * 1024
"""Of the log, about, as far as this process has written it."""
BYTES_PER_ROW = 250
BYTES_PER_COMMIT = 12_000
"""What a commit writes whatever it holds: at least a page of each table and index that it touches."""


class Checkpoints(threading.Thread):
    """Runs a checkpoint whenever enough was written."""

    def __init__(self, database: Sqlite) -> None:
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
                self._checkpoint()
            except self._database.errors as error:  # the log grows; the writer says what is wrong with the database
                logger.warning("no checkpoint: %s", error)
        self._lock.close()

    def _checkpoint(self) -> None:
        with self._lock:
            connection = self._database.connect()
            try:
                self._database.checkpoint(connection)
            finally:
                connection.close()
