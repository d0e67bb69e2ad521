"""The moment between finding a node silent and recording that it ended, which the chaos makes as long as it needs.

Who has found one silent leaves a note in a folder, and goes on once it gets the lock that lies there.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mcp_workflows.store.locks import FileLock
from mcp_workflows.store.nodes import Dead, Observer


class Judging:
    """``folder`` is there already, and is the same for the chaos and for all servers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def held_up(self, node_id: str) -> Generator[Callable[[], bool]]:
        """Until the block ends nobody whose process lives is ended. Gives what tells whether the node was found silent."""
        lock = FileLock(self._folder / "lock")
        lock.acquire()
        try:
            note = self._folder / node_id
            note.unlink(missing_ok=True)
            yield note.exists
        finally:
            lock.close()

    def apply(self) -> None:
        """In the process of a server."""
        find_dead, folder = Observer.find_dead, self._folder

        def find_dead_and_wait(self: Observer, nodes: Sequence[Any], now: float) -> list[Dead]:
            dead = find_dead(self, nodes, now)
            silent = [node for node in dead if node.lock is None]
            for node in silent:
                (folder / node.node_id).touch()
            if silent:
                lock = FileLock(folder / "lock")
                lock.acquire()
                lock.close()
            return dead

        Observer.find_dead = find_dead_and_wait
