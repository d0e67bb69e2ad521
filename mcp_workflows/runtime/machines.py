"""Machines for the runs that this node moves: rebuilt from what is recorded, or begun before anything is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from mcp_workflows.clock import Clock
from mcp_workflows.definition.program import Definition
from mcp_workflows.engine.machine import Decisions, Machine
from mcp_workflows.engine.records import Run, StepRecord, Turn
from mcp_workflows.runtime.abilities import Abilities


class Begun(NamedTuple):
    """A run that has begun in memory."""

    machine: Machine
    decisions: Decisions

    @property
    def ended(self) -> Turn | None:
        """All that is to be recorded of it, where it only computes and so has come to its end."""
        turn = self.decisions.turn
        done = turn is not None and turn.run is not None and turn.run.status.finished and not self.decisions.rebuild
        return turn if done else None


class Machines:
    """What all machines of one node have in common: its variables, and how much one step may put out."""

    def __init__(self, abilities: Abilities, clock: Clock, max_output_bytes: int) -> None:
        self._abilities = abilities
        self._clock = clock
        self._max_output_bytes = max_output_bytes

    def of(self, run: Run, definition: Definition, steps: Iterable[StepRecord] = ()) -> Machine:
        """As it stands by its records. Raises ``SettingsInvalid`` where a variable has no fitting value here."""
        variables = self._abilities.vars_of(definition)
        return Machine(definition, run, steps, variables=variables, max_output_bytes=self._max_output_bytes)

    def begin(self, run: Run, definition: Definition) -> Begun | None:
        """What is decided first of a run that is not recorded yet. ``None``: it cannot be, and its mover finds out why."""
        machine = self.of(run, definition)
        now = self._clock()
        try:
            machine.begin(now)
            return Begun(machine, machine.pump(now))
        except Exception:  # noqa: BLE001  # a defect in deciding is the run's trouble, which is to be there to have it
            return None
