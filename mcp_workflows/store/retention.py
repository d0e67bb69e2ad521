"""Deleting what finished long ago: whole trees, in small transactions, so that nothing of a run is missing while it is there.

A tree is a run that nobody started as a child, with its children and theirs. It has *expired* when every run of it finished
before some instant and none of them is about to go on. Then it is *withdrawn*, whole, in one transaction: its runs get
ids that nobody asks for and lose their keys, so that nobody finds, joins or resumes them any more. What is withdrawn is
*deleted* little by little, steps and messages before their runs. Who dies in between has done no harm: the next one goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    bindparam,
    delete,
    exists,
    literal,
    literal_column,
    or_,
    select,
    text,
    update,
)

from mcp_workflows.engine.states import FINISHED
from mcp_workflows.store import tables
from mcp_workflows.store.prepared import Cursor, Prepared
from mcp_workflows.store.statements import Statements
from mcp_workflows.store.tables import micros, run
from mcp_workflows.store.values import Expired, Tree

WITHDRAWN = "x_"
"""What the id of a run begins with that is being deleted."""
PAGE = 50
"""Trees that are looked at together."""
RUNS = 50
"""Runs that are deleted in one transaction, with what is left of them."""
ROWS = 1000
"""Rows of other tables that are deleted in one transaction."""
BLOB_PARTS = 4
"""Of those, parts of blobs, which are large."""


def is_withdrawn(run_id: ColumnElement[str]) -> ColumnElement[bool]:
    """As a range, which the index of ids serves."""
    return and_(run_id >= WITHDRAWN, run_id < WITHDRAWN[:-1] + chr(ord(WITHDRAWN[-1]) + 1))


def _expired(before: ColumnElement[Any]) -> ColumnElement[bool]:
    """One run by itself: it finished long ago, and neither a message nor a node will move it."""
    return and_(
        run.c.status.in_([literal_column(f"'{status}'") for status in sorted(FINISHED)]),
        run.c.finished_at < before,
        run.c.owner.is_(None),
        run.c.claim_at.is_(None),
        ~is_withdrawn(run.c.run_id),
    )


def expired_trees(connection: Connection, before: datetime, after: tuple[datetime, int] | None) -> Expired:
    """A page of trees that have expired, those that finished first before the others. ``after``: where the last page ended."""
    expired = _expired(literal(before, tables.Instant()))
    beyond = [] if after is None else [_later(after)]
    roots = connection.execute(
        select(run.c.run_id, run.c.finished_at, run.c.key)
        .where(text(tables.FINISHED_ROOTS), expired, *beyond)
        .order_by(run.c.finished_at, run.c.key)
        .limit(PAGE)
    ).all()
    found: dict[str, list[str]] = {root.run_id: [] for root in roots}
    going_on: set[str] = set()
    for row in connection.execute(_with_descendants(list(found), expired)):
        found[row.root].append(row.run_id)
        if not row.over:
            going_on.add(row.root)
    trees = [Tree(found[root.run_id]) for root in roots if root.run_id not in going_on]
    return Expired(trees, (roots[-1].finished_at, roots[-1].key) if len(roots) == PAGE else None)


def _later(after: tuple[datetime, int]) -> ColumnElement[bool]:
    finished_at, key = after
    return or_(run.c.finished_at > finished_at, and_(run.c.finished_at == finished_at, run.c.key > key))


def _with_descendants(roots: Sequence[str], expired: ColumnElement[bool]) -> Any:
    """``(root, run_id, expired)`` of every run of these trees."""
    top = select(run.c.run_id.label("root"), run.c.run_id, expired.label("over")).where(run.c.run_id.in_(roots))
    tree = top.cte("tree", recursive=True)
    children = select(tree.c.root, run.c.run_id, expired.label("over")).where(run.c.parent_run_id == tree.c.run_id)
    return select(tree.union_all(children))


@dataclass(frozen=True)
class _Prepared:
    """What is said for it, for one dialect."""

    still_expired: Prepared
    withdraw: Prepared
    delete_parts: Sequence[tuple[Table, Prepared]]
    """Of every table whose rows belong to runs."""
    delete_runs: Prepared


@cache
def _prepared(statements: Statements) -> _Prepared:
    dialect, among = statements.dialect, statements.among
    this = and_(run.c.run_id == bindparam("of"), _expired(bindparam("before", type_=tables.BigKey)))
    withdrawn = select(run.c.key).where(is_withdrawn(run.c.run_id)).order_by(run.c.run_id).limit(RUNS)
    parts = [
        table
        for table in reversed(tables.metadata.sorted_tables)
        if any(key.column is run.c.key for key in table.foreign_keys)
    ]
    place: ColumnElement[Any] = literal_column("ctid" if dialect.name == "postgresql" else "rowid")

    def some(table: Table) -> Prepared:
        theirs = select(place).select_from(table).where(among(table.c.run, withdrawn)).limit(bindparam("at_most"))
        return Prepared(delete(table).where(among(place, theirs)), dialect)

    left = [exists().where(table.c.run == run.c.key) for table in parts]
    return _Prepared(
        still_expired=Prepared(select(run.c.key).where(this), dialect),
        withdraw=Prepared(
            update(run)
            .where(this)
            .values(run_id=literal_column(f"'{WITHDRAWN}'").concat(run.c.run_id), idempotency_key=None, join_key=None)
            .returning(run.c.key),
            dialect,
        ),
        delete_parts=[(table, some(table)) for table in parts],
        delete_runs=Prepared(delete(run).where(among(run.c.key, withdrawn), *(~one for one in left)), dialect),
    )


class Withdraw:
    """Takes trees out of everybody's sight, each whole or not at all. Answers with those that it took."""

    def __init__(self, statements: Statements, trees: Sequence[Tree], before: datetime) -> None:
        self._statements = statements
        self._trees = trees
        self._before = micros(before)
        self.concerns = [run_id for tree in trees for run_id in tree.run_ids]

    def __call__(self, cursor: Cursor, now: int) -> list[Tree]:  # noqa: ARG002
        each, prepared = self._statements.each, _prepared(self._statements)
        taken: list[Tree] = []
        for tree in self._trees:
            runs = [{"of": run_id, "before": self._before} for run_id in tree.run_ids]
            # Somebody may have resumed one since it was looked at. From here on nobody can: all of them are locked.
            if len(each(cursor, prepared.still_expired, runs)) == len(runs):
                withdrawn = each(cursor, prepared.withdraw, runs)
                assert len(withdrawn) == len(runs)
                taken.append(tree)
        return taken


def delete_some(statements: Statements) -> Callable[[Cursor, int], int]:
    """Deletes a part of what is withdrawn. Answers with the number of rows; none: there is nothing left."""

    def call(cursor: Cursor, now: int) -> int:  # noqa: ARG001
        prepared = _prepared(statements)
        room = ROWS
        for table, some in prepared.delete_parts:
            if room > 0:
                room -= some.run(cursor, at_most=min(room, BLOB_PARTS) if table is tables.blob else room)
        return ROWS - room + (prepared.delete_runs.run(cursor) if room > 0 else 0)

    return call
