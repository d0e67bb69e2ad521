"""What one incarnation of this process is, and which runs it owns.

Ownership leaves an incarnation in three ways only: it releases a run itself, it leaves, or it is declared dead, which the
fence of every transaction notices. It notices too when the database has lost commits of this incarnation, and with them
perhaps what it owns. So what it owns need not be asked of the database: this memory is exact, and a record
of a run that is not in it is refused before it costs anything.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from mcp_workflows.errors import NodeLost
from mcp_workflows.store.locks import Lock
from mcp_workflows.store.rows import RunRow
from mcp_workflows.store.wording import SUSPECT_AFTER


@dataclass(eq=False, slots=True)
class Holdings:
    """Changed by the writer's thread alone, after the commit that makes it so; others only look things up."""

    node_id: str
    lock: Lock
    """Held for as long as the process lives."""
    runs: dict[str, int] = field(default_factory=dict[str, int])
    """Owned runs, with their keys."""
    suspects: set[str] = field(default_factory=set[str])
    """Owned runs that nodes died of, perhaps, and that have recorded nothing since."""
    ended: bool = False
    beats: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    last_beat: int = 0
    """Of those that are known to be committed. A database that has not got as far has lost commits."""

    def begin(self, run_id: str, key: int) -> None:
        """A run that this incarnation has started."""
        self.runs[run_id] = key

    def take(self, row: RunRow) -> None:
        """A run that it has claimed."""
        self.runs[row.run_id] = row.key
        if row.recoveries >= SUSPECT_AFTER:
            self.suspects.add(row.run_id)

    def drop(self, run_id: str) -> None:
        self.runs.pop(run_id, None)
        self.suspects.discard(run_id)

    def end(self) -> None:
        """Declared dead, or left: nothing is owned any more."""
        self.ended = True
        self.runs.clear()
        self.suspects.clear()

    def lost(self) -> NodeLost:
        """Why nothing can be written any more."""
        return NodeLost(f"node {self.node_id} was declared dead, or has left, or the database lost its commits")
