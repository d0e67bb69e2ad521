"""What waits for the writer: turns, which are only rows, and calls, which look before they write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from mcp_workflows.engine.records import Turn
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.store.holdings import Holdings
from mcp_workflows.store.rows import (
    ATTEMPT_COLUMNS,
    RECORD_COLUMNS,
    STEP_COLUMNS,
    Values,
    attempt_values,
    micros,
    record_values,
    step_values,
)
from mcp_workflows.store.statements import Cursor

T = TypeVar("T")

_OUTPUT, _ERROR = STEP_COLUMNS.index("output"), STEP_COLUMNS.index("error")
_ATTEMPT_ERROR = ATTEMPT_COLUMNS.index("error")


@dataclass(eq=False, slots=True)
class TurnJob:
    """A turn, as rows. Its future gets ``None``."""

    holdings: Holdings
    future: asyncio.Future[Any]
    run_id: str
    key: int
    steps: Sequence[Values]
    attempts: Sequence[Values]
    status: RunStatus | None
    run: dict[str, Any] | None
    consumed: Sequence[int]
    release: bool
    size: int
    """Bytes of JSON, about."""
    rows: int
    result: None = None


@dataclass(eq=False, slots=True)
class CallJob(Generic[T]):
    """A function that is run inside a transaction, perhaps more than once. Its future gets what it returns.

    ``call`` gets a cursor and the instant. A ``CallerError`` that it raises before it has written anything concerns its own
    caller alone. ``committed`` is run in the writer's thread, with the result, once the commit is done.
    """

    holdings: Holdings
    future: asyncio.Future[T]
    call: Callable[[Cursor, int], T]
    committed: Callable[[T], None] | None = None
    notable: Callable[[T], bool] | None = None
    """Whether those who wait for changes should look."""
    last: bool = False
    """After everything else of its batch."""
    size: int = 0
    result: T | Exception | None = field(default=None)
    rows: int = 1


Job: TypeAlias = TurnJob | CallJob[Any]


def turn_job(turn: Turn, key: int, holdings: Holdings, future: asyncio.Future[None]) -> TurnJob:
    """Encodes ``turn``. ``RecordRefused``: some value is no JSON."""
    steps = [step_values(key, record) for record in turn.steps]
    attempts = [attempt_values(key, record) for record in turn.attempts]
    size = 0
    for row in steps:
        size += len(row[_OUTPUT] or "") + len(row[_ERROR] or "")
    for row in attempts:
        size += len(row[_ATTEMPT_ERROR])
    status: RunStatus | None = None
    run: dict[str, Any] | None = None
    release = turn.release
    if turn.run is not None:
        status = turn.run.status
        values = record_values(turn.run)
        size += len(values[1] or "")
        run = dict(zip(RECORD_COLUMNS, values, strict=True))
        release = release or status.finished
        if release:
            run["claim_at"] = micros(turn.run.wake_at)
    assert not (release and run is None), "a run is released with its record, which says when it is wanted again"
    return TurnJob(
        holdings,
        future,
        turn.run_id,
        key,
        steps,
        attempts,
        status,
        run,
        turn.consumed,
        release,
        size,
        len(steps) + len(attempts) + 1,
    )
