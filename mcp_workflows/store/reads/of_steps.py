"""What is recorded of the steps of runs, their attempts, and what they kept as blobs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import product
from typing import Any, cast

from sqlalchemy import Connection, and_, case, func, select, text

from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.paths import COMPENSATE
from mcp_workflows.engine.records import AttemptRecord, StepRecord
from mcp_workflows.engine.states import StepStatus
from mcp_workflows.store import rows, tables
from mcp_workflows.store.reads.of_runs import key_of
from mcp_workflows.store.reads.portions import PORTION, portions

_run, _step, _attempt, _inbox = tables.run, tables.step, tables.attempt, tables.inbox

OPEN = 100
"""How many open steps are named at most."""

_NO_STEPS = ("branch", "item", "iteration")
_BLOCKS = ("switch", "parallel", "for_each", "repeat")
_ANSWERED = ("signal", "approval")


def steps(connection: Connection, run_id: str) -> list[StepRecord]:
    return _steps(connection, run_id)


def steps_in(connection: Connection, wanted: Mapping[str, Collection[str]]) -> dict[str, list[StepRecord]]:
    """Of each run those that stand in its lists. Runs that want the same lists are asked for together."""
    alike: dict[frozenset[str], list[str]] = {}
    for run_id, lists in wanted.items():
        alike.setdefault(frozenset(lists), []).append(run_id)
    found: dict[str, list[StepRecord]] = {run_id: [] for run_id in wanted}
    for lists, run_ids in alike.items():
        for some_lists, some_runs in product(portions(sorted(lists)), portions(run_ids)):
            for run_id, record in _steps_in(connection, some_lists, some_runs):
                found[run_id].append(record)
        if len(lists) > PORTION:
            for run_id in run_ids:
                found[run_id].sort(key=lambda record: (record.seq, record.path))
    return found


def _steps_in(connection: Connection, lists: Sequence[str], run_ids: Sequence[str]) -> Iterator[tuple[str, StepRecord]]:
    keys = select(_run.c.key, _run.c.run_id).where(_run.c.run_id.in_([one for one in run_ids if rows.is_plain(one)]))
    run_id_of = {row.key: row.run_id for row in connection.execute(keys)}
    found = connection.execute(
        select(_step)
        .where(_step.c.run.in_(list(run_id_of)), _step.c.parent.in_(lists))
        .order_by(_step.c.seq, _step.c.path)
    )
    return ((run_id_of[row.run], rows.step_record(row)) for row in found)


def undoable_steps(connection: Connection, run_id: str) -> list[StepRecord]:
    return _steps(connection, run_id, text(tables.UNDOABLE))


def waiting_steps(connection: Connection, run_id: str) -> list[StepRecord]:
    return _steps(connection, run_id, _step.c.status == StepStatus.WAITING, _step.c.kind.in_(_ANSWERED))


def open_steps(connection: Connection, run_id: str) -> list[tuple[str, StepError | None]]:
    elsewhere = _step.c.decision.is_not(None)  # what goes on there may keep the error of an attempt before
    again = and_(_step.c.attempts > 0, _step.c.status == StepStatus.WAITING, ~elsewhere)
    found = connection.execute(
        select(_step.c.path, case((again, _step.c.error)))
        .where(
            _step.c.run == key_of(run_id),
            _step.c.status.in_([status for status in StepStatus if not status.settled]),
            _step.c.kind.not_in(_BLOCKS),
        )
        .order_by(_step.c.seq, _step.c.path)
        .limit(OPEN)
    )
    return [(path, rows.step_error(error)) for path, error in found]


def completed_steps(connection: Connection, run_id: str) -> int:
    count = (
        select(func.count())
        .select_from(_step)
        .where(
            _step.c.run == key_of(run_id),
            _step.c.status == StepStatus.COMPLETED,
            _step.c.kind.not_in(_NO_STEPS),
            ~_step.c.path.contains(COMPENSATE, autoescape=True),
        )
    )
    return connection.execute(count).scalar_one()


def completed_paths(connection: Connection, run_id: str, kinds: Collection[str]) -> list[str]:
    found = connection.execute(
        select(_step.c.path)
        .where(
            _step.c.run == key_of(run_id),
            _step.c.status == StepStatus.COMPLETED,
            _step.c.kind.in_(sorted(kinds)),
            _step.c.error.is_(None),
        )
        .order_by(_step.c.seq.desc(), _step.c.path)
    )
    return list(found.scalars())


def last_change(connection: Connection, run_id: str) -> datetime | None:
    latest_step = select(func.max(_step.c.started_at), func.max(_step.c.finished_at)).where(
        _step.c.run == key_of(run_id)
    )
    latest_message = select(func.max(_inbox.c.received_at)).where(_inbox.c.run == key_of(run_id))
    instants = [*connection.execute(latest_step).one(), connection.execute(latest_message).scalar_one()]
    return max((when for when in cast("list[datetime | None]", instants) if when is not None), default=None)


def _steps(connection: Connection, run_id: str, *conditions: Any) -> list[StepRecord]:
    """In the order in which they were settled."""
    found = connection.execute(
        select(_step).where(_step.c.run == key_of(run_id), *conditions).order_by(_step.c.seq, _step.c.path)
    )
    return [rows.step_record(row) for row in found]


def attempts(connection: Connection, run_id: str) -> list[AttemptRecord]:
    found = connection.execute(
        select(_attempt)
        .where(_attempt.c.run == key_of(run_id))
        .order_by(_attempt.c.finished_at, _attempt.c.path, _attempt.c.number)
    )
    return [rows.attempt_record(row) for row in found]


def blob(connection: Connection, run_id: str, blob_id: str) -> tuple[bytes, str | None] | None:
    table = tables.blob
    found = connection.execute(
        select(table.c.part, table.c.data, table.c.content_type)
        .where(table.c.run == key_of(run_id), table.c.blob_id == blob_id)
        .order_by(table.c.part)
    ).all()
    if not found or found[0].part != 0:  # somebody is putting it there, or was cut off
        return None
    return b"".join(part.data for part in found), rows.from_text(found[0].content_type)
