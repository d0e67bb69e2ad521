"""What a person's ``resume`` changes: the input for what is still to come, and the failed step."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeGuard

from mcp_workflows.definition.program import Json, ParallelWork, Step, WorkflowWork
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


def reopen(step: Step, failed: StepRecord, body: Mapping[str, Any], now: datetime) -> StepRecord:
    """The failed step's next generation: settled by ``output`` or ``skip``, else to be tried again.

    A ``wait`` that was cut short keeps its instant, a block its decisions, and work that went on elsewhere is asked about
    again, not begun again; but a child has ended, and a new one is started, unless it completed since. Only a correction of
    what is sent changes the idempotency key: the service would answer a changed request with the answer to the first one,
    or refuse it.
    """
    generation = failed.generation + 1
    record = failed._replace(
        generation=generation, attempts=0, attempts_before=failed.attempts_before + failed.attempts, started_at=now,
        finished_at=None, decision=None,
    )  # fmt: skip
    if "output" in body:
        undoable = step.compensate is not None
        return record._replace(
            status=StepStatus.COMPLETED, output=body["output"], error=None, in_doubt=False, finished_at=now,
            undoable=undoable,
        )  # fmt: skip
    if body.get("skip"):
        return record._replace(status=StepStatus.SKIPPED, error=None, in_doubt=False, finished_at=now, undoable=False)
    if step.is_block:
        before: Mapping[str, Json] = failed.decision or {}
        decision = {key: value for key, value in before.items() if key in _LASTING}
        status = StepStatus.RUNNING if decision or isinstance(step.work, ParallelWork) else StepStatus.PENDING
        return record._replace(status=status, decision=decision or None, error=None)
    children: Mapping[str, Json] = body.get("children") or {}
    if failed.path in children:
        child = {"generation": failed.generation, **(failed.decision or {}).get("parked", {})}
        decision = {"parked": {**child, "told": children[failed.path]}}
        return record._replace(status=StepStatus.WAITING, decision=decision, error=None, in_doubt=False)
    if body.get("input") is not None or body.get("request") is not None:
        request = composed(failed.correction, body.get("request"))
        return record._replace(status=StepStatus.PENDING, corrected=generation, correction=request)
    goes_on = failed.decision and "parked" in failed.decision and not isinstance(step.work, WorkflowWork)
    kept = failed.decision if goes_on else None
    return record._replace(status=StepStatus.PENDING, decision=kept)


def may_be_reopened(step: Step, failed: StepRecord, body: Mapping[str, Any]) -> bool:
    """Not without a word from somebody who knows what happened: a step in doubt that must run at most once."""
    return (
        not (step.at_most_once and failed.in_doubt) or "output" in body or bool(body.get("skip") or body.get("again"))
    )


_LASTING = frozenset({"arm", "items", "iteration", "state"})
"""Decisions of a block that stand when it goes on."""


def _is_object(value: Json) -> TypeGuard[dict[str, Json]]:
    return isinstance(value, dict)
