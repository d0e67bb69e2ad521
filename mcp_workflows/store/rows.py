"""Records to rows and back. JSON is ASCII text without NaN: whatever one database takes, the other takes too.

Encoding happens on the caller's side, before the queue, so that a value that cannot be encoded is refused at its origin
and the writer thread only hands tuples on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from types import SimpleNamespace
from typing import Any, TypeAlias, cast

from sqlalchemy import Row as SqlRow

from mcp_workflows.definition.json_text import to_ascii
from mcp_workflows.definition.program import Json
from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.paths import parent_of
from mcp_workflows.engine.records import (
    AttemptRecord,
    Message,
    NotUndone,
    ParentRun,
    Run,
    RunRecord,
    StepRecord,
    Stopping,
)
from mcp_workflows.engine.states import RunStatus, StepStatus
from mcp_workflows.engine.undo_plan import IN_DOUBT
from mcp_workflows.errors import RecordRefused
from mcp_workflows.store import tables
from mcp_workflows.store.prepared import Cursor
from mcp_workflows.store.tables import AT_ONCE, EPOCH, instant
from mcp_workflows.store.values import NewRun, NodeReport, Unable

Values: TypeAlias = tuple[Any, ...]
AnyRow: TypeAlias = SqlRow[Any] | Any

RUN_COLUMNS = tuple(tables.run.columns.keys())
"""``key``, which the database gives, is the first."""
STEP_COLUMNS = tuple(tables.step.columns.keys())
OUTPUT = STEP_COLUMNS.index("output")
SELDOM = STEP_COLUMNS[STEP_COLUMNS.index("error") :]
"""What most steps have none of. Binding a null costs the driver more than any other value, so it is not bound there."""
ATTEMPT_COLUMNS = tuple(tables.attempt.columns.keys())
SELDOM_OF_RECORD = (
    "error", "compensation", "undone", "not_undone", "stopping", "ends_as", "corrections", "timeout_left", "wake_at",
    "waiting_for",
)  # fmt: skip
"""What most runs have none of when they begin, and when they end."""
RECORD_COLUMNS = ("status", "output", "timeout_at", "seq", "started_at", "finished_at", *SELDOM_OF_RECORD)
"""The columns of ``run`` that a ``RunRecord`` fills, in the order of ``record_values``."""
START_COLUMNS = RUN_COLUMNS[1:]
SELDOM_AT_START = ("parent_run_id", "parent_path", "parent_generation", "pins", *SELDOM_OF_RECORD)

_encode_sorted = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"), sort_keys=True).encode


class RunRow(SimpleNamespace):
    """A row of ``run`` as the driver gives it: instants are integers."""

    @classmethod
    def of(cls, values: Sequence[Any]) -> RunRow:
        return cls(**dict(zip(RUN_COLUMNS, values, strict=True)))

    @classmethod
    def found(cls, cursor: Cursor) -> RunRow | None:
        """What a statement that finds one at most has found."""
        found = cursor.fetchall()
        return cls.of(found[0]) if found else None


def is_plain(text: str) -> bool:
    """Whether every database can hold and compare ``text``: no NUL, no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def to_text(value: Json) -> str | None:
    """``value`` as ASCII JSON; ``None`` for null. ``RecordRefused``: it is no JSON."""
    if value is None:
        return None
    try:
        return to_ascii(value)
    except (ValueError, TypeError, RecursionError) as error:
        raise RecordRefused(f"A value cannot be recorded as JSON: {error}") from error


def from_text(text: str | None) -> Json:
    return None if text is None else json.loads(text)


def same(one: Json, other: Json) -> bool:
    """Equal as JSON: ``1``, ``1.0`` and ``true`` differ, the order of keys does not matter."""
    return _encode_sorted(one) == _encode_sorted(other)


def differing_keys(one: Json, other: Json) -> list[str]:
    """The top-level keys in which two objects differ; empty where either is no object."""
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return []
    left, right = cast("Mapping[str, Json]", one), cast("Mapping[str, Json]", other)
    return sorted(
        key
        for key in left.keys() | right.keys()
        if key not in left or key not in right or not same(left[key], right[key])
    )


def micros(moment: datetime | None) -> int | None:
    if moment is None:
        return None
    since = moment - EPOCH
    return (since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds


def _error_text(error: StepError | None) -> str | None:
    return None if error is None else to_text(error.to_json())


def step_error(text: str | None) -> StepError | None:
    return None if text is None else StepError.from_json(json.loads(text))


def step_values(key: int, record: StepRecord) -> Values:
    """In the order of ``STEP_COLUMNS``; without ``SELDOM`` where all of it is null."""
    path = record.path
    parent = (
        "" if path.isidentifier() else parent_of(path)
    )  # most paths are names of the root list, and this is quicker
    values = (
        key, parent, path, record.seq, record.kind, str(record.status), to_text(record.output), record.generation,
        record.corrected, record.attempts, record.attempts_before, record.in_doubt, micros(record.started_at),
        micros(record.finished_at), record.undoable,
    )  # fmt: skip
    error, correction, decision = record.error, record.correction, record.decision
    if error is None and correction is None and decision is None and record.now is None and record.due_at is None:
        return values
    seldom = (_error_text(error), to_text(correction), micros(record.now), micros(record.due_at), to_text(decision))
    return values + seldom


def step_record(row: AnyRow) -> StepRecord:
    return StepRecord(
        path=row.path,
        seq=row.seq,
        kind=row.kind,
        status=StepStatus(row.status),
        output=from_text(row.output),
        error=step_error(row.error),
        generation=row.generation,
        corrected=row.corrected,
        correction=from_text(row.correction),
        attempts=row.attempts,
        attempts_before=row.attempts_before,
        in_doubt=bool(row.in_doubt),
        now=row.now,
        due_at=row.due_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        decision=from_text(row.decision),
        undoable=bool(row.undoable),
    )


def attempt_values(key: int, record: AttemptRecord) -> Values:
    """In the order of ``ATTEMPT_COLUMNS``."""
    return (
        key, record.path, record.number, to_text(record.error.to_json()), micros(record.started_at), micros(record.finished_at),
    )  # fmt: skip


def attempt_record(row: AnyRow) -> AttemptRecord:
    return AttemptRecord(
        path=row.path,
        number=row.number,
        error=StepError.from_json(json.loads(row.error)),
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


def record_values(record: RunRecord) -> Values:
    """In the order of ``RECORD_COLUMNS``; without ``SELDOM_OF_RECORD`` where all of it is null."""
    stopping = record.stopping
    values = (
        str(record.status), to_text(record.output), micros(record.timeout_at), record.seq, micros(record.started_at),
        micros(record.finished_at),
    )  # fmt: skip
    seldom = (
        _error_text(record.error), record.compensation, to_text(record.undone or None), to_text(record.not_undone or None),
        None if stopping is None else to_text(
            {"reason": stopping.reason, "in_flight": stopping.in_flight, "compensate": stopping.compensate}
        ),
        record.ends_as, to_text(record.corrections), record.timeout_left, micros(record.wake_at),
        to_text(record.waiting_for or None),
    )  # fmt: skip
    return values if seldom == _NOTHING_SELDOM else values + seldom


_NOTHING_SELDOM = (None,) * len(SELDOM_OF_RECORD)


def named_record(values: Values) -> dict[str, Any]:
    """``record_values`` by their columns, all of them."""
    return dict(zip(RECORD_COLUMNS, (*values, *_NOTHING_SELDOM), strict=False))


def start_values(new: NewRun, run: Run) -> Values:
    """In the order of ``START_COLUMNS``; without ``SELDOM_AT_START`` where all of it is null."""
    record = record_values(run.record)
    claim_at = None if new.ended else AT_ONCE
    known = (
        new.run_id, new.workflow, new.version, new.definition_id, new.actor, micros(new.created_at), new.idempotency_key,
        new.join_key, to_text(new.input) or "null", run.owner, claim_at, 0, -1, False,
    )  # fmt: skip
    if new.parent is None and not new.pins and len(record) < len(RECORD_COLUMNS):
        return known + record
    pins = to_text({name: list(pin) for name, pin in new.pins.items()} or None)
    values = dict(zip(_KNOWN_AT_START, known, strict=True))
    values |= {**named_record(record), **parent_values(new.parent), "pins": pins}
    return tuple(values[name] for name in START_COLUMNS)


_KNOWN_AT_START = (
    "run_id", "workflow", "version", "definition_id", "actor", "created_at", "idempotency_key", "join_key", "input", "owner",
    "claim_at", "recoveries", "recovered_seq", "interrupted",
)  # fmt: skip


def _moment(value: int | datetime | None) -> datetime | None:
    """Rows of the raw driver hold integers, rows read through the tables instants."""
    return instant(value) if isinstance(value, int) else value


def run_record(row: AnyRow) -> RunRecord:
    stopping = from_text(row.stopping)
    return RunRecord(
        status=RunStatus(row.status),
        output=from_text(row.output),
        error=step_error(row.error),
        compensation=row.compensation,
        undone=tuple(from_text(row.undone) or ()),
        not_undone=tuple(_not_undone(*one) for one in from_text(row.not_undone) or ()),
        stopping=stopping
        and Stopping(
            reason=stopping["reason"], in_flight=tuple(stopping["in_flight"]), compensate=stopping["compensate"]
        ),
        ends_as=row.ends_as,
        corrections=from_text(row.corrections),
        timeout_at=_moment(row.timeout_at),
        timeout_left=row.timeout_left,
        wake_at=_moment(row.wake_at),
        waiting_for=tuple(from_text(row.waiting_for) or ()),
        seq=row.seq,
        started_at=_moment(row.started_at),
        finished_at=_moment(row.finished_at),
    )


def _not_undone(path: str, why: str, in_doubt: bool | None = None) -> NotUndone:
    """Rows that an earlier version wrote leave ``in_doubt`` to the words of ``why``."""
    return NotUndone(path, why, why.startswith(IN_DOUBT) if in_doubt is None else in_doubt)


def run(row: AnyRow) -> Run:
    created_at = _moment(row.created_at)
    assert created_at is not None
    return Run(
        run_id=row.run_id,
        workflow=row.workflow,
        version=row.version,
        definition_id=row.definition_id,
        input=from_text(row.input),
        actor=row.actor,
        created_at=created_at,
        record=run_record(row),
        idempotency_key=row.idempotency_key,
        owner=row.owner,
        recoveries=row.recoveries,
        interrupted=bool(row.interrupted),
        parent=_parent(row),
        pins=_pins(row.pins),
    )


def parent_values(parent: ParentRun | None) -> dict[str, Any]:
    """The columns of ``run`` that say whose child it is."""
    return {
        "parent_run_id": parent and parent.run_id,
        "parent_path": parent and parent.path,
        "parent_generation": parent and parent.generation,
    }


def _pins(text: str | None) -> dict[str, tuple[int, int]]:
    pins: dict[str, list[int]] = {} if text is None else json.loads(text)
    return {name: (definition_id, version) for name, (definition_id, version) in pins.items()}


def _parent(row: AnyRow) -> ParentRun | None:
    if row.parent_run_id is None:
        return None
    return ParentRun(row.parent_run_id, row.parent_path, row.parent_generation)


def message(row: AnyRow) -> Message:
    return Message(
        message_id=row.id,
        run_id=row.run_id,
        kind=row.kind,
        body=from_text(row.body),
        actor=row.actor,
        received_at=row.received_at,
        reason=from_text(row.reason),
    )


def report_text(report: NodeReport) -> str:
    """As JSON. A newer version may add to it, so what it does not know a reader passes over."""
    return to_ascii(asdict(report))


def node_report(text: str | None) -> NodeReport | None:
    if text is None:
        return None
    told = json.loads(text)
    cannot = tuple(Unable(*one[:3]) for one in told["cannot"])
    role = told.get("role", "server")  # an older version told it by the node's name alone
    limits = (told["max_runs"], told["max_attempts"], told["max_attempts_per_host"])
    return NodeReport(role, *limits, cannot, told.get("served_at"))


def named(names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(names, values, strict=True))
