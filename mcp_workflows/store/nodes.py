"""Who is alive: taking over from nodes whose process is gone, or which have not been seen to do anything for long.

Death is observed. On SQLite a process that dies lets go of its lock file, whatever it dies of; one that hangs keeps it, but
its beat stands still. On PostgreSQL the beat is all there is. No wall clocks are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mcp_workflows.store.database import Database
from mcp_workflows.store.locks import Lock
from mcp_workflows.store.prepared import Cursor
from mcp_workflows.store.statements import Statements
from mcp_workflows.store.values import TakenOver

PATIENCE = 0.8
"""Of the lease: after so much of it a silent node is dead. What is left is for looking now and then, so that its runs go on
within the lease."""


@dataclass(frozen=True, slots=True)
class Dead:
    """A node that was found dead. ``lock`` is the one it held; whoever has it is the only one to take over.

    Where there is no such proof, ``beat`` is the one that stood still: a node that has beaten since lives.
    """

    node_id: str
    name: str
    lock: Lock | None
    beat: int | None = None


class Observer:
    """Remembers since when each node's beat stands still, on this process's own monotonic clock.

    An observer that was held up itself, by a locked or full disk or a sleeping machine, has seen nothing: the others may
    have been held up by the same. It begins to count anew.
    """

    def __init__(self, database: Database, lease_seconds: float) -> None:
        self._database = database
        self._lease_seconds = lease_seconds
        self._seen: dict[str, tuple[int, float]] = {}
        self._looked = -float("inf")

    def find_dead(self, nodes: Sequence[Any], now: float) -> list[Dead]:
        """Of ``(node_id, name, beat)`` rows, those that are dead. ``now`` is monotonic. The caller closes their locks."""
        if now - self._looked > self._lease_seconds / 3:
            self._seen.clear()
        self._looked = now
        self._seen = {node_id: self._seen[node_id] for node_id, _, _ in nodes if node_id in self._seen}
        dead: list[Dead] = []
        for node_id, name, beat in nodes:
            lock = self._database.proof_of_death(node_id)
            if lock is not None:
                dead.append(Dead(node_id, name, lock))
            elif self._silent(node_id, beat, now):
                dead.append(Dead(node_id, name, None, beat))
        return dead

    def _silent(self, node_id: str, beat: int, now: float) -> bool:
        seen = self._seen.get(node_id)
        if seen is None or seen[0] != beat:
            self._seen[node_id] = (beat, now)
            return False
        return now - seen[1] > PATIENCE * self._lease_seconds


def take_over(statements: Statements, dead: Sequence[Dead], cursor: Cursor, now: int) -> list[TakenOver]:
    """Ends ``dead`` nodes and frees their runs, unless somebody else did it before."""
    taken: list[TakenOver] = []
    for node in dead:
        if _end(statements, node, cursor, now):
            runs = statements.free_crashed.run(cursor, node=node.node_id)
            taken.append(TakenOver(node.node_id, node.name, runs))
    return taken


def _end(statements: Statements, node: Dead, cursor: Cursor, now: int) -> bool:
    if node.beat is None:
        return statements.end_node.run(cursor, node=node.node_id, now=now, was_crash=True) == 1
    return statements.end_silent_node.run(cursor, node=node.node_id, seen=node.beat, now=now) == 1


def leave(statements: Statements, node_id: str, cursor: Cursor, now: int) -> None:
    """A graceful end: everything is let go, and nothing counts as a crash."""
    statements.free_left.run(cursor, node=node_id)
    statements.end_node.run(cursor, node=node_id, now=now, was_crash=False)


def let_go(dead: Sequence[Dead], *, ended: bool) -> None:
    """Of the locks of dead nodes. Their files stay until it is recorded that the nodes ended: they are how one can tell."""
    for node in dead:
        if node.lock is not None and ended:
            node.lock.remove()
        elif node.lock is not None:
            node.lock.close()
