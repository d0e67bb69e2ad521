"""What a person's ``resume`` changes: the input for what is still to come, and the failed step."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeGuard

from mcp_workflows.definition.program import Definition, Json
from mcp_workflows.engine.records import StepRecord
from mcp_workflows.engine.states import StepStatus


def corrected(value: Json, patch: Json) -> Json:
    """``value`` with ``patch`` applied by RFC 7396 (JSON Merge Patch): null takes a key away."""
    if not _is_object(patch):
        return value if patch is None else patch
    base: dict[str, Json] = dict(value) if _is_object(value) else {}
    for key, change in patch.items():
        if change is None:
            base.pop(key, None)
        else:
            base[key] = corrected(base.get(key), change)
    return base


def composed(first: Json, second: Json) -> Json:
    """One patch that does what ``first`` and then ``second`` do; nulls are kept, because they take away."""
    if not (_is_object(first) and _is_object(second)):
        return first if second is None else second
    both: dict[str, Json] = dict(first)
    for key, change in second.items():
        both[key] = composed(both[key], change) if key in both and change is not None else change
    return both


def broken(definition: Definition, memo: Mapping[str, StepRecord]) -> list[StepRecord]:
    """Where the run stopped: the steps that failed for good or were cut short, in the order of the definition."""
    found: list[StepRecord] = []
    for step in definition.steps:
        record = memo.get(step.name)
        if record is None:
            continue
        failed = record.status in (StepStatus.FAILED, StepStatus.IN_DOUBT)
        passed_over = record.error is not None and step.goes_on_after(record.error.code)
        if record.status is StepStatus.CANCELLED or (failed and not passed_over):
            found.append(record)
    return found


def reopen(failed: StepRecord, body: Mapping[str, Any], now: datetime) -> StepRecord:
    """The failed step's next generation: settled by ``output`` or ``skip``, else to be tried again.

    A ``wait`` that was cut short keeps its instant. Only a correction of what is sent changes the idempotency key: the
    service would answer a changed request with the answer to the first one, or refuse it.
    """
    generation = failed.generation + 1
    record = failed._replace(generation=generation, attempts=0, attempts_before=failed.attempts_before + failed.attempts,
        started_at=now, finished_at=None,
    )  # fmt: skip
    if "output" in body:
        return record._replace(
            status=StepStatus.COMPLETED, output=body["output"], error=None, in_doubt=False, finished_at=now
        )
    if body.get("skip"):
        return record._replace(status=StepStatus.SKIPPED, error=None, in_doubt=False, finished_at=now)
    if body.get("input") is not None or body.get("request") is not None:
        request = composed(failed.correction, body.get("request"))
        record = record._replace(corrected=generation, correction=request)
    return record._replace(status=StepStatus.PENDING)


def _is_object(value: Json) -> TypeGuard[dict[str, Json]]:
    return isinstance(value, dict)
