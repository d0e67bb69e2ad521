"""What is undone when a run cannot be finished, in which order, and what stays all the same."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from mcp_workflows.definition.program import Compensation, Definition, Json, Step, WorkflowWork
from mcp_workflows.definition.walk import every_step
from mcp_workflows.engine.paths import COMPENSATE, around
from mcp_workflows.engine.places import Place, place_of, step_at
from mcp_workflows.engine.records import NotUndone, StepRecord
from mcp_workflows.engine.scope import Lexical
from mcp_workflows.engine.states import StepStatus

IN_DOUBT: Final = "it is in doubt whether it took place"
"""Begins what is said of a step that no undoing is left for."""


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
    impossible: tuple[NotUndone, ...]


def plan(definition: Definition, memo: Mapping[str, StepRecord]) -> Plan:
    """Steps that took place, or may have, latest first. Pure: the same records give the same plan.

    Blocks are folded for going on, not for undoing: what was done in them is undone step by step.
    """
    todo: list[Undo] = []
    undone: list[str] = []
    impossible: list[NotUndone] = []
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
            impossible.append(NotUndone(record.path, f"{IN_DOUBT}: {record.error.message}", in_doubt=True))
    return Plan(tuple(todo), tuple(undone), tuple(impossible))


def lasting_kinds(definition: Definition) -> frozenset[str]:
    """The kinds of its steps that may change something outside, compensations aside."""
    return frozenset(step.kind for step in every_step(definition.steps, undoing=False) if _lasts(step))


def staying(definition: Definition, completed: Iterable[str], undone: Collection[str]) -> tuple[str, ...]:
    """Of the paths of ``completed`` steps those that may have changed something which nothing undoes, in their order.

    ``undone``: what was undone, is to be, or could not be. Undoing a block undoes what was done in it.
    """
    lasts: dict[str, bool] = {}
    found: list[str] = []
    for path in completed:
        if COMPENSATE in path or path in undone or any(outer in undone for outer in around(path)):
            continue
        place = _NUMBERS.sub("[0]", path)  # the same step in each item, of which there may be very many
        if place not in lasts:
            step = step_at(definition, place)
            lasts[place] = step is not None and _lasts(step)
        if lasts[place]:
            found.append(path)
    return tuple(found)


_NUMBERS = re.compile(r"\[\d+\]")


def _lasts(step: Step) -> bool:
    return step.has_effect or isinstance(step.work, WorkflowWork)
