"""What is undone when a run cannot be finished, and in which order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mcp_workflows.definition.program import Compensation, Definition, Json, WorkflowWork
from mcp_workflows.engine.paths import COMPENSATE
from mcp_workflows.engine.places import Place, place_of
from mcp_workflows.engine.records import StepRecord
from mcp_workflows.engine.scope import Lexical
from mcp_workflows.engine.states import StepStatus


@dataclass(frozen=True, slots=True)
class Undo:
    """One step to be undone. ``compensation`` is ``None`` for a child run, which undoes itself."""

    place: Place
    compensation: Compensation | None

    @property
    def path(self) -> str:
        return self.place.path

    def lexical(self, values: Mapping[str, Json]) -> Lexical:
        """The list of the compensation's steps: it sees what its step saw, the step, and ``values``."""
        assert self.compensation is not None
        return Lexical.of(self.compensation.steps, self.path + COMPENSATE, self.place.lexical, values)


@dataclass(frozen=True, slots=True)
class Plan:
    """``todo`` is in the order of undoing, ``undone`` was undone before, ``impossible`` is in doubt with nothing to undo it."""

    todo: tuple[Undo, ...]
    undone: tuple[str, ...]
    impossible: tuple[tuple[str, str], ...]


def plan(definition: Definition, memo: Mapping[str, StepRecord]) -> Plan:
    """Steps that took place, or may have, latest first. Pure: the same records give the same plan.

    Blocks are folded for going on, not for undoing: what was done in them is undone step by step.
    """
    todo: list[Undo] = []
    undone: list[str] = []
    impossible: list[tuple[str, str]] = []
    concerned = [record for record in memo.values() if record.undoable and COMPENSATE not in record.path]
    for record in sorted(concerned, key=lambda record: record.seq, reverse=True):
        place = place_of(definition, record.path, memo)
        assert place is not None, f"{record.path} is no step of {definition.name}"
        compensation = place.step.compensate
        own = isinstance(place.step.work, WorkflowWork) and compensation is None and record.error is None
        if record.status is StepStatus.COMPENSATED:
            undone.append(record.path)
        elif own or (compensation and (record.error is None or compensation.in_doubt)):
            todo.append(Undo(place, compensation))
        elif record.error is not None:
            impossible.append((record.path, f"it is in doubt whether it took place: {record.error.message}"))
    return Plan(tuple(todo), tuple(undone), tuple(impossible))
