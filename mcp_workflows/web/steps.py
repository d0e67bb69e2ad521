"""What happened so far, in lines that a person can take in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from mcp_workflows.definition.program import Json
from mcp_workflows.engine.records import StepRecord
from mcp_workflows.engine.states import StepStatus
from mcp_workflows.runtime.views import Asking

SHOWN: Final = 40
_LONGEST: Final = 2000
_MARKS: Final = {
    StepStatus.COMPLETED: "✓", StepStatus.FAILED: "✗", StepStatus.IN_DOUBT: "?", StepStatus.SKIPPED: "○",
    StepStatus.CANCELLED: "○", StepStatus.COMPENSATED: "↶",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class StepLine:
    """``told`` is the step's result, or what went wrong."""

    path: str
    status: str
    mark: str
    told: str | None
    failed: bool


def step_lines(asking: Asking) -> tuple[list[StepLine], int]:
    """The last steps, without the one that asks, and how many came before them."""
    asks = None if asking.wait is None else asking.wait.path
    steps = [step for step in asking.steps if step.path != asks and step.status is not StepStatus.PENDING]
    return [_line(step) for step in steps[-SHOWN:]], max(len(steps) - SHOWN, 0)


def given_lines(value: Json) -> str:
    """JSON as it is read best, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _line(step: StepRecord) -> StepLine:
    failed = step.error is not None
    told = None
    if step.error is not None:
        told = f"{step.error.code}: {step.error.message}"[:_LONGEST]
    elif step.status.has_output and step.output is not None:
        told = given_lines(step.output)
    return StepLine(step.path, str(step.status), _MARKS.get(step.status, "…"), told, failed)
