"""What is written after looking: starting, delivering, claiming, defining. Each runs inside the writer's transaction."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from datetime import timedelta
from functools import lru_cache
from typing import Any

from mcp_workflows.engine.records import Run
from mcp_workflows.errors import Busy, InputRefused, KeyConflict, UnknownRun
from mcp_workflows.store import rows
from mcp_workflows.store.holdings import Holdings
from mcp_workflows.store.prepared import Cursor, Prepared
from mcp_workflows.store.rows import OUTPUT, RECORD_COLUMNS, RunRow
from mcp_workflows.store.statements import Statements, claim
from mcp_workflows.store.tables import AT_ONCE, micros
from mcp_workflows.store.values import Delivered, NewRun, StartResult

FORGET_NODES_AFTER = timedelta(days=7)


def plain(text: str | None, what: str) -> str | None:
    """``text``, if every database can hold it and compare it. ``InputRefused``: it cannot."""
    if text is not None and not rows.is_plain(text):
        raise InputRefused(
            f"{what} {json.dumps(text)[:100]} holds a NUL character or half a surrogate pair. Use another one."
        )
    return text


def _row(cursor: Cursor) -> RunRow | None:
    found = cursor.fetchall()
    return RunRow.of(found[0]) if found else None


class Start:
    """Starts a run, or finds the one that an earlier call started. Encodes when made."""

    def __init__(self, statements: Statements, new: NewRun, me: str, max_queued: int | None) -> None:
        self._statements = statements
        self._new = new
        self._max_queued = max_queued
        self._run = new.run(me if new.own and new.ended is None else None)
        self._steps = [rows.step_values(0, record) for record in new.ended.steps] if new.ended else []
        record = self._run.record
        values = dict(zip(RECORD_COLUMNS, rows.record_values(record), strict=True))
        self._values: dict[str, Any] = values | {
            "run_id": new.run_id,
            "workflow": new.workflow,
            "version": new.version,
            "definition_id": new.definition_id,
            "actor": plain(new.actor, "actor"),
            "created_at": micros(new.created_at),
            "idempotency_key": plain(new.idempotency_key, "_idempotency_key"),
            "join_key": new.join_key,
            "input": rows.to_text(new.input) or "null",
            "pins": rows.to_text({name: list(pin) for name, pin in new.pins.items()} or None),
            **rows.parent_values(new.parent),
            "owner": self._run.owner,
            "claim_at": None if new.ended else AT_ONCE,
            "recoveries": 0,
            "recovered_seq": -1,
            "interrupted": False,
        }
        self.rows = 1 + len(self._steps)
        self.size = 400 + len(self._values["input"]) + len(self._values["output"] or "")
        self.size += sum(len(row[OUTPUT] or "") for row in self._steps)
        self.exclusive = [] if new.join_key is None else [json.dumps([new.actor, new.workflow, new.join_key])]

    def __call__(self, cursor: Cursor, now: int) -> tuple[RunRow, bool]:  # noqa: ARG002
        there = self._by_key(cursor) or self._by_join_key(cursor)
        if there is not None:
            return there, True
        self._check_room(cursor)
        self._statements.start.run(cursor, **self._values)
        begun = cursor.fetchall()
        if begun:
            key = begun[0][0]
            if self._steps:
                self._statements.steps.run(cursor, [(key, *row[1:]) for row in self._steps])
            return RunRow(key=key, **self._values), False
        there = self._by_key(cursor)
        assert there is not None
        return there, True

    def result(self, row: RunRow, *, joined: bool) -> StartResult:
        if joined:
            return StartResult(rows.run(row), joined=True)
        return StartResult(self._run, joined=False)

    def _by_key(self, cursor: Cursor) -> RunRow | None:
        new = self._new
        if new.idempotency_key is None:
            return None
        self._statements.run_by_idempotency_key.run(
            cursor, by=new.actor, of=new.workflow, idempotency_key=new.idempotency_key
        )
        there = _row(cursor)
        if there is not None:
            self._check_same_input(rows.run(there))
        return there

    def _check_room(self, cursor: Cursor) -> None:
        """Whoever moves the run itself has room for it."""
        if self._new.own or self._max_queued is None:
            return
        self._statements.queue_at.run(cursor, place=self._max_queued - 1)
        if cursor.fetchall():
            raise Busy(f"{self._max_queued:,} runs wait for a place already, and no more are taken in.")

    def _check_same_input(self, there: Run) -> None:
        if rows.same(there.input, self._new.input):
            return
        differs = ", ".join(rows.differing_keys(there.input, self._new.input)) or "the whole input"
        key = json.dumps(self._new.idempotency_key, ensure_ascii=False)
        raise KeyConflict(
            f"_idempotency_key {key} belongs to {there.run_id} with other input (differs in: {differs}). Use another key."
        )

    def _by_join_key(self, cursor: Cursor) -> RunRow | None:
        new = self._new
        if new.join_key is None:
            return None
        since = None if new.join_since is None else micros(new.join_since)
        self._statements.run_by_join_key.run(cursor, join_key=new.join_key, by=new.actor, of=new.workflow, since=since)
        return _row(cursor)


class Deliver:
    """Puts a message into a run's inbox, once for each ``dedupe_key``. Encodes when made."""

    def __init__(self, statements: Statements, run_id: str, message: dict[str, Any]) -> None:
        self._statements = statements
        self._run_id = run_id
        self.concerns = [run_id] if rows.is_plain(run_id) else []
        self._message = message

    def __call__(self, cursor: Cursor, now: int) -> Delivered:  # noqa: ARG002
        there = self._find(cursor)
        self._statements.deliver.run(cursor, run=there.key, **self._message)
        inserted = cursor.fetchall()
        if not inserted:
            self._statements.delivered.run(cursor, run_key=there.key, dedupe_key=self._message["dedupe_key"])
            return Delivered(cursor.fetchall()[0][0], new=False)
        self._statements.wake.run(cursor, run_key=there.key)
        return Delivered(inserted[0][0], new=True)

    def _find(self, cursor: Cursor) -> RunRow:
        if rows.is_plain(self._run_id):
            self._statements.run_by_run_id.run(cursor, run_id=self._run_id)
            there = _row(cursor)
            if there is not None:
                return there
        raise UnknownRun(f"No run {self._run_id} that you may see.")


class Claim:
    """Claims due runs, in due order, and at most one suspect while no other is held."""

    def __init__(
        self, statements: Statements, holdings: Holdings, limit: int, cannot: Collection[int], due: int
    ) -> None:
        self._statements = statements
        self._holdings = holdings
        self._limit = limit
        self._cannot = frozenset(cannot)
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
        statement = _claims(self._statements, suspects, timed, self._cannot)
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


def join(statements: Statements, cursor: Cursor, node_id: str, name: str, pid: int, now: int) -> None:
    """A new incarnation's row. Those that ended long ago are forgotten on the occasion."""
    statements.forget_nodes.run(cursor, before=now - int(FORGET_NODES_AFTER.total_seconds() * 1_000_000))
    statements.insert_node.run(
        cursor, node_id=node_id, name=name, pid=pid, started_at=now, beat=0, beat_at=now, ended_at=None, crashed=False,
        report=None,
    )  # fmt: skip
