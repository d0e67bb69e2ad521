"""What a run waits for from outside, told so that it can be answered: its open signals and approvals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast

from mcp_workflows.definition.program import ApprovalWork, Definition, Json, SignalWork
from mcp_workflows.engine.places import step_at
from mcp_workflows.engine.records import StepRecord
from mcp_workflows.engine.states import StepStatus

DECISIONS = ("approved", "rejected")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A signal or an approval that a run waits for, told so that it can be answered."""

    kind: Literal["signal", "approval"]
    name: str
    """What an answer names: a signal's name; of an approval the step's name, or its path where it stands in a loop."""
    path: str
    by: Literal["person", "anyone"]
    """Who may answer."""
    message: str | None = None
    """Of an approval: what is asked."""
    schema: Mapping[str, Json] | None = None
    """JSON Schema of the answer; ``None``: anything."""
    approvers: tuple[str, ...] | None = None
    """The actors who alone may answer; ``None``: whoever may at all."""
    expires_at: datetime | None = None
    generation: int = 1

    @property
    def key(self) -> str:
        """Tells this wait from all others that the run ever has: an answer that names it is for no later one."""
        return f"{self.path}#{self.generation}"


def waiting_for(definition: Definition, rows: Mapping[str, StepRecord]) -> tuple[Waiting, ...]:
    """The waits among ``rows``, in their order. Rows that wait for something else, or no longer, are passed over."""
    waits = (asked_by(definition, row) for row in rows.values() if row.status is StepStatus.WAITING)
    return tuple(wait for wait in waits if wait is not None)


def asked_by(definition: Definition, row: StepRecord) -> Waiting | None:
    """What the step of this row asks, or has asked, in the generation that the row is of."""
    step = step_at(definition, row.path)
    work = step.work if step else None
    if isinstance(work, ApprovalWork):
        return _approval(row, work)
    return _signal(row, work) if isinstance(work, SignalWork) else None


def _approval(row: StepRecord, work: ApprovalWork) -> Waiting:
    asked = cast("dict[str, Any]", row.decision or {})
    approvers = asked.get("approvers")
    return Waiting(
        "approval", name_of(row.path), row.path, work.by, asked.get("message"), answer_schema(work.form),
        None if approvers is None else tuple(map(str, approvers)), row.due_at, row.generation,
    )  # fmt: skip


def _signal(row: StepRecord, work: SignalWork) -> Waiting:
    return Waiting(
        "signal", work.name, row.path, "anyone", schema=work.schema, expires_at=row.due_at, generation=row.generation
    )


def name_of(path: str) -> str:
    """What an answer to the approval at ``path`` names: the step, as ids are unique; in a loop the whole path.

    A name that means another item an hour later would let an answer decide what its giver never saw.
    """
    return path if "[" in path else path[path.rfind(".") + 1 :]


def answer_schema(form: Mapping[str, Json] | None) -> dict[str, Json]:
    """Of the answer to an approval: the decision, a note, and the author's fields below ``form``."""
    properties: dict[str, Json] = {
        "decision": {"type": "string", "enum": list(DECISIONS)},
        "note": {"type": "string"},
    }
    if form is not None:
        properties["form"] = _moved(form, "properties/form")
    return {"type": "object", "required": ["decision"], "properties": properties}


def _moved(schema: Json, place: str) -> Json:
    """A schema that stood for itself, and stands at ``place`` of another: its references lead into itself as before."""
    if isinstance(schema, list):
        return [_moved(one, place) for one in cast("list[Json]", schema)]
    if not isinstance(schema, Mapping):
        return schema
    moved = {name: _moved(inner, place) for name, inner in cast("Mapping[str, Json]", schema).items()}
    reference = moved.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/"):
        moved["$ref"] = f"#/{place}{reference[1:]}"
    return moved
