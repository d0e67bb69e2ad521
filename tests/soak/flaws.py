"""Servers as they must not be, one flaw each: what the soak does not complain of here it does not watch over."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Update, bindparam, select, true, update

from mcp_workflows import clock
from mcp_workflows.store import wording
from mcp_workflows.store.calls import Deliver
from mcp_workflows.store.nodes import Dead, Observer
from mcp_workflows.store.reads import of_nodes
from mcp_workflows.store.statements import Statements
from mcp_workflows.store.tables import micros, node
from mcp_workflows.store.values import Delivered


def _without_a_fence() -> None:
    """Who was declared dead goes on writing."""

    def beat(
        me: ColumnElement[str], last_beat: ColumnElement[int], new_beat: ColumnElement[int], now: ColumnElement[int]
    ) -> Update:
        still = (node.c.node_id == me, node.c.beat >= last_beat, node.c.beat < new_beat)
        return update(node).where(*still).values(beat=new_beat, beat_at=now)

    wording.beat = beat


def _death_by_the_clock() -> None:
    """When the others wrote last is compared with the clock of who looks."""

    def living_nodes(connection: Connection) -> list[Any]:
        columns = (node.c.node_id, node.c.name, node.c.beat, node.c.beat_at)
        return list(connection.execute(select(*columns).where(node.c.ended_at.is_(None))))

    def find_dead(self: Observer, nodes: list[Any], now: float) -> list[Dead]:
        found: list[Dead] = []
        for other in nodes:
            lock = self._database.proof_of_death(other.node_id)
            silent = micros(clock.utc_now()) - micros(other.beat_at) > self._lease_seconds * 1_000_000
            if lock is not None or silent:
                found.append(Dead(other.node_id, other.name, lock, other.beat))
        return found

    of_nodes.living_nodes = living_nodes
    Observer.find_dead = find_dead  # pyright: ignore[reportAttributeAccessIssue]


def _ended_whether_it_beats_or_not() -> None:
    """Who takes over does not look whether the node has written since it was found silent, or does so at this moment."""

    def break_statements(statements: Statements) -> None:
        statements.end_silent_node = statements._prepare(
            update(node)
            .where(node.c.node_id == bindparam("node"), node.c.ended_at.is_(None))
            .values(ended_at=bindparam("now"), crashed=true())
        )

    _after_making(break_statements)


def _messages_taken_by_who_hears_them() -> None:
    """Whoever is called takes the message in, whether the run is its own or not."""
    deliver = Deliver.__call__

    def call(self: Deliver, cursor: Any, now: int) -> Delivered:
        delivered = deliver(self, cursor, now)
        if delivered.new:
            key = self._find(cursor).key
            self._statements.consume.run(cursor, message=delivered.message_id, run_key=key, now=now)
        return delivered

    Deliver.__call__ = call


def _after_making(change: Callable[[Statements], None]) -> None:
    make = Statements.__init__

    def make_and_change(self: Statements, *arguments: Any, **named: Any) -> None:
        make(self, *arguments, **named)
        change(self)

    Statements.__init__ = make_and_change


FLAWS: Mapping[str, Callable[[], None]] = {
    flaw.__name__.strip("_"): flaw
    for flaw in (
        _without_a_fence,
        _death_by_the_clock,
        _ended_whether_it_beats_or_not,
        _messages_taken_by_who_hears_them,
    )
}
