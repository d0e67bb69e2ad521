"""What waits for the writer: turns, which are only rows; starts, which are made together; and calls, which look first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeAlias, TypeVar

from mcp_workflows.engine.records import NewChild, Outgoing, RunRecord, Turn
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.store.holdings import Holdings
from mcp_workflows.store.prepared import Cursor
from mcp_workflows.store.rows import (
    ATTEMPT_COLUMNS,
    OUTPUT,
    STEP_COLUMNS,
    Values,
    attempt_values,
    micros,
    named_record,
    parent_values,
    record_values,
    step_values,
    to_text,
)
from mcp_workflows.store.starts import Start, Started
from mcp_workflows.store.tables import AT_ONCE

T = TypeVar("T")

_ERROR, _DECISION = map(STEP_COLUMNS.index, ("error", "decision"))
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
    run: Values | None
    """Its record, where that has changed."""
    claim_at: int | None
    consumed: Sequence[int]
    kept: Sequence[int]
    children: Sequence[dict[str, Any]]
    outgoing: Sequence[dict[str, Any]]
    release: bool
    size: int
    """Bytes of JSON, about."""
    rows: int
    result: None = None

    @property
    def only_steps(self) -> bool:
        """Whether rows of steps are all that it is."""
        more = self.attempts or self.consumed or self.kept or self.children or self.outgoing
        return self.run is None and not more


@dataclass(eq=False, slots=True)
class StartJob:
    """A run to be started. Its future gets a ``Started``."""

    holdings: Holdings
    future: asyncio.Future[Started]
    start: Start
    size: int
    rows: int
    result: Started | None = None


@dataclass(eq=False, slots=True)
class CallJob(Generic[T]):
    """A function that is run inside a transaction, perhaps more than once. Its future gets what it returns.

    ``call`` gets a cursor and the instant. A ``CallerError``, or ``Busy``, that it raises before it has written anything
    concerns its own caller alone. ``committed`` is run in the writer's thread, with the result, once the commit is done.
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
    concerns: Sequence[str] = ()
    """Ids of runs that it looks at and changes, whoever owns them."""
    exclusive: Sequence[str] = ()
    """Names of what it looks up and makes if it is not there: of two nodes that do, one waits."""
    result: T | Exception | None = field(default=None)
    rows: int = 1


Job: TypeAlias = TurnJob | StartJob | CallJob[Any]


def turn_job(
    turn: Turn, key: int, holdings: Holdings, future: asyncio.Future[None], now: Callable[[], datetime]
) -> TurnJob:
    """Encodes ``turn``. ``RecordRefused``: some value is no JSON. ``now`` is asked where the turn concerns other runs."""
    steps = [step_values(key, record) for record in turn.steps]
    attempts = [attempt_values(key, record) for record in turn.attempts]
    size = 0
    for row in steps:
        size += len(row[OUTPUT] or "")
        if len(row) == len(STEP_COLUMNS):
            size += len(row[_ERROR] or "") + len(row[_DECISION] or "")
    for row in attempts:
        size += len(row[_ATTEMPT_ERROR])
    status: RunStatus | None = None
    run: Values | None = None
    claim_at: int | None = None
    release = turn.release
    if turn.run is not None:
        status = turn.run.status
        run = record_values(turn.run)
        size += len(run[1] or "")
        release = release or status.finished
        claim_at = micros(turn.run.wake_at)
    children: Sequence[dict[str, Any]] = ()
    outgoing: Sequence[dict[str, Any]] = ()
    if turn.children or turn.outgoing:  # seldom
        children = [_child_values(child, now()) for child in turn.children]
        outgoing = [_outgoing_values(message, now()) for message in turn.outgoing]
        size += sum(len(child["input"]) for child in children) + sum(len(message["body"]) for message in outgoing)
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
        claim_at,
        turn.consumed,
        turn.kept,
        children,
        outgoing,
        release,
        size,
        len(steps) + len(attempts) + len(children) + len(outgoing) + 1,
    )


def _child_values(child: NewChild, now: datetime) -> dict[str, Any]:
    """The columns of ``run`` that a child does not inherit."""
    record = RunRecord(RunStatus.PENDING)
    return {
        **named_record(record_values(record)),
        **parent_values(child.parent),
        "run_id": child.run_id,
        "workflow": child.workflow,
        "version": child.version,
        "definition_id": child.definition_id,
        "created_at": micros(now),
        "idempotency_key": None,
        "join_key": None,
        "input": to_text(child.input) or "null",
        "owner": None,
        "claim_at": AT_ONCE,
        "recoveries": 0,
        "recovered_seq": -1,
        "interrupted": False,
    }


def _outgoing_values(message: Outgoing, now: datetime) -> dict[str, Any]:
    """The columns of ``inbox``, and ``to`` whom."""
    return {
        "to": message.run_id,
        "kind": message.kind,
        "body": to_text(dict(message.body)),
        "reason": None,
        "dedupe_key": message.dedupe_key,
        "received_at": micros(now),
        "kept": False,
    }
