"""What a run waits for from outside, told so that it can be answered: its open signals and approvals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, cast

from mcp_workflows.definition.program import ApprovalWork, Definition, Json, SignalWork, Step
from mcp_workflows.engine.places import step_at
from mcp_workflows.engine.records import StepRecord
from mcp_workflows.engine.states import StepStatus
from mcp_workflows.runtime.views import Waiting

DECISIONS = ("approved", "rejected")


def waiting_for(definition: Definition, rows: Mapping[str, StepRecord]) -> tuple[Waiting, ...]:
    """The waits among ``rows``, in their order. Rows that wait for something else, or no longer, are passed over."""
    found = [
        (row, step, step.work)
        for row in rows.values()
        if row.status is StepStatus.WAITING and (step := step_at(definition, row.path)) is not None
    ]
    approvals = Counter(step.name for _, step, work in found if isinstance(work, ApprovalWork))
    waits: list[Waiting] = []
    for row, step, work in found:
        match work:
            case ApprovalWork():
                name = step.name if approvals[step.name] == 1 else row.path
                waits.append(_approval(row, work, name))
            case SignalWork():
                waits.append(Waiting("signal", work.name, row.path, "anyone", None, work.schema, None, row.due_at))
            case _:
                pass
    return tuple(waits)


def _approval(row: StepRecord, work: ApprovalWork, name: str) -> Waiting:
    asked = cast("dict[str, Any]", row.decision or {})
    approvers = asked.get("approvers")
    return Waiting(
        "approval", name, row.path, work.by, asked.get("message"), answer_schema(work.form),
        None if approvers is None else tuple(map(str, approvers)), row.due_at,
    )  # fmt: skip


def answer_schema(form: Mapping[str, Json] | None) -> dict[str, Json]:
    """Of the answer to an approval: the decision, a note, and the author's fields below ``form``."""
    properties: dict[str, Json] = {
        "decision": {"type": "string", "enum": list(DECISIONS)},
        "note": {"type": "string"},
    }
    if form is not None:
        properties["form"] = dict(form)
    return {"type": "object", "required": ["decision"], "properties": properties}


def steps_of(definition: Definition) -> Iterator[Step]:
    """Every step of a definition, however deep: blocks, their steps, handlers of failures, compensations."""
    todo = list(reversed(definition.steps))
    while todo:
        step = todo.pop()
        yield step
        inner = [one for steps in step.lists for one in steps]
        inner += step.compensate.steps if step.compensate else ()
        todo += reversed(inner)
