"""What is written after looking: delivering, claiming, defining. Each runs inside the writer's transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any

from mcp_workflows.engine.records import Run
from mcp_workflows.errors import RelativeMoved, UnknownRun
from mcp_workflows.store import rows
from mcp_workflows.store.holdings import Holdings
from mcp_workflows.store.prepared import Cursor, Prepared
from mcp_workflows.store.rows import RunRow
from mcp_workflows.store.statements import Statements, claim
from mcp_workflows.store.values import Delivered

FORGET_NODES_AFTER = timedelta(days=7)


class Deliver:
    """Puts a message into a run's inbox, once for each ``dedupe_key``.

    ``taken``: it is there for the record alone, and nobody takes it in. ``beside``: runs of the same family, which must
    stand as they were read, with nobody having told them since to go on or to stop.
    """

    def __init__(
        self, statements: Statements, run_id: str, message: dict[str, Any], *, taken: bool = False,
        beside: Sequence[Run] = (),
    ) -> None:  # fmt: skip
        self._statements = statements
        self._run_id = run_id
        self.concerns = [run_id, *(run.run_id for run in beside)] if rows.is_plain(run_id) else []
        self._beside = beside
        self._message = message
        self._taken = taken

    def __call__(self, cursor: Cursor, now: int) -> Delivered:
        there = self._find(cursor)
        for relative in self._beside:
            self._check_still(cursor, relative)
        if self._taken:
            self._statements.note.run(cursor, run=there.key, consumed_at=now, **self._message)
        else:
            self._statements.deliver.run(cursor, run=there.key, **self._message)
        inserted = cursor.fetchall()
        if not inserted:
            self._statements.delivered.run(cursor, run_key=there.key, dedupe_key=self._message["dedupe_key"])
            return Delivered(cursor.fetchall()[0][0], new=False)
        if not self._taken:
            self._statements.wake.run(cursor, run_key=there.key)
        return Delivered(inserted[0][0], new=True)

    def _check_still(self, cursor: Cursor, relative: Run) -> None:
        self._statements.run_by_run_id.run(cursor, run_id=relative.run_id)
        now = RunRow.found(cursor)
        if now is not None and (now.status, now.seq) == (str(relative.record.status), relative.record.seq):
            self._statements.told_to_move.run(cursor, run_key=now.key)
            told = {kind for (kind,) in cursor.fetchall()}
            if "resume" not in told and (relative.record.status.finished or "cancel" not in told):
                return
        raise RelativeMoved(
            f"{self._run_id} was not touched: at the same moment {relative.run_id}, of the same family of runs, was told to "
            f"go on or to stop. See with get_run where {relative.run_id} stands, then ask again."
        )

    def _find(self, cursor: Cursor) -> RunRow:
        if rows.is_plain(self._run_id):
            self._statements.run_by_run_id.run(cursor, run_id=self._run_id)
            there = RunRow.found(cursor)
            if there is not None:
                return there
        raise UnknownRun(f"No run {self._run_id} that you may see.")


class Claim:
    """Claims due runs, in due order, and at most one suspect while no other is held."""

    def __init__(
        self, statements: Statements, holdings: Holdings, limit: int, cannot: Collection[int], due: int,
        only: Collection[int] | None = None,
    ) -> None:  # fmt: skip
        self._statements = statements
        self._holdings = holdings
        self._limit = limit
        self._cannot = frozenset(cannot)
        self._only = only
        self._due = due

    def __call__(self, cursor: Cursor, now: int) -> list[RunRow]:  # noqa: ARG002
        # Half for those whose time has come, so that however much may be claimed at any time keeps none of them waiting.
        claimed = self._claim(cursor, suspects=False, at_most=(self._limit + 1) // 2, timed=True)
        if len(claimed) < self._limit:
            claimed += self._claim(cursor, suspects=False, at_most=self._limit - len(claimed))
        if len(claimed) < self._limit and not self._holdings.suspects:
            claimed += self._claim(cursor, suspects=True, at_most=1)
        return sorted(claimed, key=lambda row: (row.claim_at, row.key))

    def _claim(self, cursor: Cursor, *, suspects: bool, at_most: int, timed: bool = False) -> list[RunRow]:
        if self._only is None:
            statement = _claims(self._statements, suspects, timed, self._cannot)
        else:  # seldom, and another one each time
            statement = claim(self._statements, suspects=suspects, timed=timed, cannot=self._cannot, only=self._only)
        statement.run(cursor, me=self._holdings.node_id, now=self._due, at_most=at_most)
        return [RunRow.of(row) for row in cursor.fetchall()]


@lru_cache(maxsize=32)
def _claims(statements: Statements, suspects: bool, timed: bool, cannot: frozenset[int]) -> Prepared:
    return claim(statements, suspects=suspects, timed=timed, cannot=cannot)


def define(statements: Statements, name: str, digest: str, content: str) -> Callable[[Cursor, int], tuple[int, int]]:
    """``(definition_id, version)``: known content keeps its number, new content gets the next."""

    def call(cursor: Cursor, now: int) -> tuple[int, int]:
        statements.definition_by_digest.run(cursor, of=name, digest=digest)
        known = cursor.fetchall()
        if known:
            return known[0]
        statements.last_version.run(cursor, of=name)
        version = cursor.fetchall()[0][0] + 1
        statements.define.run(cursor, name=name, version=version, digest=digest, content=content, created_at=now)
        return cursor.fetchall()[0][0], version

    return call


def join(
    statements: Statements, cursor: Cursor, node_id: str, name: str, pid: int, now: int, report: str | None = None
) -> None:
    """A new incarnation's row. Those that ended long ago are forgotten on the occasion."""
    statements.forget_nodes.run(cursor, before=now - int(FORGET_NODES_AFTER.total_seconds() * 1_000_000))
    statements.insert_node.run(
        cursor, node_id=node_id, name=name, pid=pid, started_at=now, beat=0, beat_at=now, ended_at=None, crashed=False,
        report=report,
    )  # fmt: skip
