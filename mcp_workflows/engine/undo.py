"""What is undone when a run cannot be finished, and in which order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mcp_workflows.definition.program import Compensation, Definition, Step
from mcp_workflows.engine.records import StepRecord
from mcp_workflows.engine.scope import Lexical
from mcp_workflows.engine.states import StepStatus

SUFFIX = ":compensate"
"""Leads from a step's path to that of its compensation; ``:`` stands in no other path."""


@dataclass(frozen=True, slots=True)
class Undo:
    """One step to be undone, with what its compensation sees."""

    path: str
    compensation: Compensation
    lexical: Lexical

    @property
    def inner(self) -> Lexical:
        """The list of the compensation's own steps. The short form is one step that is named by the compensation itself."""
        short = len(self.compensation.steps) == 1 and self.compensation.steps[0].name == ""
        return Lexical.of(self.compensation.steps, self.path + SUFFIX + ("" if short else "."), self.lexical)


@dataclass(frozen=True, slots=True)
class Plan:
    """``todo`` is in the order of undoing, ``undone`` was undone before, ``impossible`` is in doubt with nothing to undo it."""

    todo: tuple[Undo, ...]
    undone: tuple[str, ...]
    impossible: tuple[tuple[str, str], ...]

    @property
    def empty(self) -> bool:
        return not (self.todo or self.undone or self.impossible)


def plan(definition: Definition, memo: Mapping[str, StepRecord]) -> Plan:
    """Steps that took place, or may have, latest first. Pure: the same records give the same plan."""
    lexical = Lexical.of(definition.steps)
    todo: list[Undo] = []
    undone: list[str] = []
    impossible: list[tuple[str, str]] = []
    for record, step in sorted(_tracked(definition, memo), key=lambda pair: pair[0].seq, reverse=True):
        compensation = step.compensate
        if record.status is StepStatus.COMPENSATED:
            undone.append(record.path)
        elif compensation and (record.error is None or compensation.in_doubt):
            todo.append(Undo(record.path, compensation, lexical))
        elif record.error is not None:
            impossible.append((record.path, f"it is in doubt whether it took place: {record.error.message}"))
    return Plan(tuple(todo), tuple(undone), tuple(impossible))


def _tracked(definition: Definition, memo: Mapping[str, StepRecord]) -> list[tuple[StepRecord, Step]]:
    """Records that undoing concerns: completed with a compensation, being undone, undone, or in doubt."""
    found: list[tuple[StepRecord, Step]] = []
    for step in definition.steps:
        record = memo.get(step.name)
        if record is None:
            continue
        completed = record.status is StepStatus.COMPLETED and step.compensate is not None
        if completed or record.status in _UNDOING:
            found.append((record, step))
    return found


_UNDOING = frozenset({StepStatus.COMPENSATING, StepStatus.COMPENSATED, StepStatus.IN_DOUBT})
