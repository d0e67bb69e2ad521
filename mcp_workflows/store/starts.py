"""Starting runs, or finding those that earlier calls started: of all that are started at the same time, a few statements.

Of runs that look for the same one, the first must be there before the next one looks. So they are taken in parts, of which none
holds two that could find one another.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from mcp_workflows.engine.records import Run
from mcp_workflows.errors import Busy, CallerError, InputRefused, KeyConflict
from mcp_workflows.store import rows
from mcp_workflows.store.prepared import Cursor
from mcp_workflows.store.rows import OUTPUT, RunRow
from mcp_workflows.store.statements import Statements
from mcp_workflows.store.tables import micros
from mcp_workflows.store.values import NewRun, StartResult


class Started(NamedTuple):
    """The run that is there now, and its row if it was there before."""

    run_id: str
    key: int
    there: RunRow | None

    @property
    def joined(self) -> bool:
        return self.there is not None


Answer: TypeAlias = "Callable[[Start, Started | CallerError | Busy], None]"


def plain(text: str | None, what: str) -> str | None:
    """``text``, if every database can hold it and compare it. ``InputRefused``: it cannot."""
    if text is not None and not rows.is_plain(text):
        raise InputRefused(
            f"{what} {json.dumps(text)[:100]} holds a NUL character or half a surrogate pair. Use another one."
        )
    return text


class Start:
    """One run to be started. Encodes when made."""

    def __init__(self, new: NewRun, me: str, max_queued: int | None) -> None:
        plain(new.actor, "actor")
        plain(new.idempotency_key, "_idempotency_key")
        self.new = new
        self.max_queued = None if new.own or new.ended is not None else max_queued
        """Whoever moves the run itself has room for it, and one that ends with its start needs none."""
        self.run = new.run(me if new.own and new.ended is None else None)
        self.values = rows.start_values(new, self.run)
        self.steps = [rows.step_values(0, record) for record in new.ended.steps] if new.ended else []
        self.rows = 1 + len(self.steps)
        self.size = 300 + sum(len(value) for value in self.values if isinstance(value, str))
        self.size += sum(len(row[OUTPUT] or "") for row in self.steps)
        self.exclusive = [] if new.join_key is None else [json.dumps([new.actor, new.workflow, new.join_key])]

    def result(self, started: Started) -> StartResult:
        if started.there is not None:
            return StartResult(rows.run(started.there), joined=True)
        return StartResult(self.run, joined=False)

    def finds(self) -> Iterator[tuple[str | None, ...]]:
        """By what it may find another one that is started at the same time."""
        new = self.new
        if new.idempotency_key is not None:
            yield "key", new.actor, new.workflow, new.idempotency_key
        if new.join_key is not None:
            yield "work", new.actor, new.workflow, new.join_key
        if self.max_queued is not None:
            yield ("queue",)


def start_all(cursor: Cursor, statements: Statements, starts: Sequence[Start], answer: Answer) -> None:
    """Starts all of them, each as if they came one after the other. What one of them is refused concerns it alone."""
    part: list[Start] = []
    seen: set[tuple[str | None, ...]] = set()
    for each in starts:
        finds = list(each.finds())
        if finds and not seen.isdisjoint(finds):
            _start_part(cursor, statements, part, answer)
            part, seen = [], set()
        part.append(each)
        seen.update(finds)
    _start_part(cursor, statements, part, answer)


def _start_part(cursor: Cursor, statements: Statements, starts: Sequence[Start], answer: Answer) -> None:
    new: list[Start] = []
    for each in starts:
        try:
            there = _by_key(cursor, statements, each) or _by_join_key(cursor, statements, each)
            if there is None:
                _check_room(cursor, statements, each)
                new.append(each)
            else:
                answer(each, Started(there.run_id, there.key, there))
        except (CallerError, Busy) as refused:
            answer(each, refused)
    keys = dict(statements.starts.returned(cursor, [each.values for each in new]))
    steps = [(keys[each.new.run_id], *row[1:]) for each in new if each.new.run_id in keys for row in each.steps]
    statements.steps.run(cursor, steps)
    for each in new:
        key = keys.get(each.new.run_id)
        answer(each, _begun_elsewhere(cursor, statements, each) if key is None else Started(each.new.run_id, key, None))


def _begun_elsewhere(cursor: Cursor, statements: Statements, each: Start) -> Started | CallerError:
    """Another node has begun a run with the same idempotency key since this one looked."""
    try:
        there = _by_key(cursor, statements, each)
    except CallerError as refused:
        return refused
    assert there is not None
    return Started(there.run_id, there.key, there)


def _by_key(cursor: Cursor, statements: Statements, each: Start) -> RunRow | None:
    new = each.new
    if new.idempotency_key is None:
        return None
    statements.run_by_idempotency_key.run(cursor, by=new.actor, of=new.workflow, idempotency_key=new.idempotency_key)
    there = RunRow.found(cursor)
    if there is not None:
        _check_same_input(rows.run(there), new)
    return there


def _by_join_key(cursor: Cursor, statements: Statements, each: Start) -> RunRow | None:
    new = each.new
    if new.join_key is None:
        return None
    since = None if new.join_since is None else micros(new.join_since)
    statements.run_by_join_key.run(cursor, join_key=new.join_key, by=new.actor, of=new.workflow, since=since)
    return RunRow.found(cursor)


def _check_room(cursor: Cursor, statements: Statements, each: Start) -> None:
    if each.max_queued is None:
        return
    statements.queue_at.run(cursor, place=each.max_queued - 1)
    if cursor.fetchall():
        raise Busy(f"{each.max_queued:,} runs wait for a place already, and no more are taken in.")


def _check_same_input(there: Run, new: NewRun) -> None:
    if rows.same(there.input, new.input):
        return
    differs = ", ".join(rows.differing_keys(there.input, new.input)) or "the whole input"
    key = json.dumps(new.idempotency_key, ensure_ascii=False)
    raise KeyConflict(
        f"_idempotency_key {key} belongs to {there.run_id} with other input (differs in: {differs}). Use another key."
    )
