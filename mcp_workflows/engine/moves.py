"""The moves of a run: one constructor for each, which sets every field that belongs together.

Each takes the run's record and answers with the next one; a move that ``RUN_MOVES`` does not allow is a defect here and
asserts.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from mcp_workflows.definition.program import Definition, Json
from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.records import CompensationOutcome, NotUndone, RunRecord, Stopping
from mcp_workflows.engine.states import RUN_MOVES, RunStatus


def started(definition: Definition, now: datetime) -> RunRecord:
    """The record of a run that its node begins at once."""
    return RunRecord(RunStatus.RUNNING, started_at=now, timeout_at=_deadline(definition.timeout, now))


def begin(record: RunRecord, definition: Definition, now: datetime) -> RunRecord:
    """A pending run is begun."""
    deadline = _deadline(definition.timeout, now)
    return _move(record, RunStatus.RUNNING, started_at=now, timeout_at=deadline, wake_at=None)


def go_on(record: RunRecord) -> RunRecord:
    """Something is in flight again, or soon."""
    return _move(record, RunStatus.RUNNING, wake_at=None)


def wait(record: RunRecord, wake_at: datetime | None) -> RunRecord:
    """Nothing is in flight until ``wake_at``. A run that compensates says so also while it waits."""
    if record.status is RunStatus.COMPENSATING:
        return record._replace(wake_at=wake_at)
    return _move(record, RunStatus.WAITING, wake_at=wake_at)


def suspend(record: RunRecord, now: datetime) -> RunRecord:
    """It waits for people and signals alone: until one of them comes, its time stands still."""
    if record.timeout_at is None:
        return record
    return record._replace(timeout_at=None, timeout_left=_left(record, now))


def unsuspend(record: RunRecord, now: datetime) -> RunRecord:
    """Its time passes again."""
    if record.timeout_left is None:
        return record
    return record._replace(timeout_at=_deadline(record.timeout_left, now), timeout_left=None)


def stop(record: RunRecord, stopping: Stopping) -> RunRecord:
    """Nothing new is started; what is in flight may end, and what was open when the run was set aside is ended."""
    running = record.status is RunStatus.PAUSED
    return _move(record, RunStatus.RUNNING if running else record.status, stopping=stopping)


def complete(record: RunRecord, output: Json, now: datetime) -> RunRecord:
    return _move(record, RunStatus.COMPLETED, output=output, error=None, finished_at=now, wake_at=None, waiting_for=())


def pause(record: RunRecord, error: StepError, now: datetime) -> RunRecord:
    """A decision is needed; until then the run's time stands still."""
    return _move(
        record, RunStatus.PAUSED, error=error, stopping=None, timeout_at=None, timeout_left=_left(record, now),
        wake_at=None, waiting_for=(),
    )  # fmt: skip


def compensate(
    record: RunRecord, ends_as: Literal["failed", "cancelled", "compensated"], error: StepError | None
) -> RunRecord:
    """What was completed is undone, then the run ends as ``ends_as``."""
    return _move(
        record, RunStatus.COMPENSATING, error=error, ends_as=ends_as, timeout_at=None, wake_at=None, finished_at=None,
        timeout_left=None, compensation=None, not_undone=(), waiting_for=(),
    )  # fmt: skip


def end(
    record: RunRecord,
    ends_as: Literal["failed", "cancelled", "compensated"],
    now: datetime,
    *,
    error: StepError | None,
    compensation: CompensationOutcome = "none",
    undone: tuple[str, ...] = (),
    not_undone: tuple[NotUndone, ...] = (),
) -> RunRecord:
    """The run ends without having completed. One that could not undo everything has failed, also if it was cancelled."""
    status = RunStatus.FAILED if compensation == "incomplete" else RunStatus(ends_as)
    return _move(
        record, status, error=error, ends_as=ends_as, compensation=compensation, undone=undone,
        not_undone=not_undone, finished_at=now, timeout_at=None, wake_at=None, waiting_for=(),
    )  # fmt: skip


def resume(record: RunRecord, definition: Definition, corrections: Json, now: datetime) -> RunRecord:
    """The run goes forward again, with what was left of its time; a time that had run out begins anew."""
    left = record.timeout_left or definition.timeout
    return _move(
        record, RunStatus.RUNNING, error=None, corrections=corrections, stopping=None, ends_as=None, compensation=None,
        finished_at=None, timeout_at=_deadline(left, now), timeout_left=None, wake_at=None,
    )  # fmt: skip


def _move(record: RunRecord, status: RunStatus, **fields: object) -> RunRecord:
    legal = status is record.status or status in RUN_MOVES[record.status]
    assert legal, f"{record.status} cannot become {status}"
    return record._replace(status=status, **fields)  # pyright: ignore[reportArgumentType]


def _deadline(seconds: float | None, now: datetime) -> datetime | None:
    return None if seconds is None else now + timedelta(seconds=seconds)


def _left(record: RunRecord, now: datetime) -> float | None:
    if record.timeout_at is None:
        return record.timeout_left
    return max((record.timeout_at - now).total_seconds(), 0.0)
