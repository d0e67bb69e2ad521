"""The states of runs and steps, and the one table of legal moves between them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class RunStatus(StrEnum):
    """Where a run stands. Whoever moves it on is named with each member."""

    PENDING = "pending"
    """Durable, not yet begun. The first node to claim it begins it."""
    RUNNING = "running"
    """Its owner moves it."""
    WAITING = "waiting"
    """Nothing is in flight; a timer or a message moves it on."""
    PAUSED = "paused"
    """Something must be decided: ``resume`` or ``cancel`` moves it on."""
    COMPENSATING = "compensating"
    """Its owner undoes what was completed."""
    COMPLETED = "completed"
    """Finished."""
    FAILED = "failed"
    """Finished; ``resume`` may reopen it where nothing was undone or the undoing is incomplete."""
    CANCELLED = "cancelled"
    """Finished."""
    COMPENSATED = "compensated"
    """Finished: a child that had completed and was undone, because its parent was."""

    @property
    def finished(self) -> bool:
        return self in FINISHED


class StepStatus(StrEnum):
    """Where a step stands."""

    PENDING = "pending"
    RUNNING = "running"
    """An attempt was recorded as begun. Its end, or the node that takes over, moves it on."""
    WAITING = "waiting"
    """For an instant (of a ``wait``, of the next attempt) or for a message (a signal, a callback, a child's end)."""
    COMPLETED = "completed"
    FAILED = "failed"
    """Definitely without effect, or the effect is known. ``resume`` may ask for it anew."""
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    IN_DOUBT = "in_doubt"
    """Failed, and it is unknown whether its effect took place."""
    COMPENSATING = "compensating"
    COMPENSATED = "compensated"

    @property
    def settled(self) -> bool:
        """Its outcome is recorded; only a correction or the undoing changes it."""
        return self not in _OPEN

    @property
    def has_output(self) -> bool:
        """Its work was done, whether or not it is being undone since."""
        return self in _DONE


_OPEN = frozenset({StepStatus.PENDING, StepStatus.RUNNING, StepStatus.WAITING})
_DONE = frozenset({StepStatus.COMPLETED, StepStatus.COMPENSATING, StepStatus.COMPENSATED})


FINISHED = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.COMPENSATED})

RUN_MOVES: Mapping[RunStatus, frozenset[RunStatus]] = {
    RunStatus.PENDING: frozenset({RunStatus.RUNNING, RunStatus.CANCELLED}),
    RunStatus.RUNNING: frozenset(
        {
            RunStatus.WAITING,
            RunStatus.COMPLETED,
            RunStatus.PAUSED,
            RunStatus.COMPENSATING,
            RunStatus.FAILED,
            RunStatus.CANCELLED,
        }
    ),
    RunStatus.WAITING: frozenset(
        {
            RunStatus.RUNNING,
            RunStatus.COMPLETED,
            RunStatus.PAUSED,
            RunStatus.COMPENSATING,
            RunStatus.FAILED,
            RunStatus.CANCELLED,
        }
    ),
    RunStatus.PAUSED: frozenset({RunStatus.RUNNING, RunStatus.COMPENSATING, RunStatus.FAILED, RunStatus.CANCELLED}),
    RunStatus.COMPENSATING: frozenset({RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.COMPENSATED}),
    RunStatus.COMPLETED: frozenset({RunStatus.COMPENSATING}),
    RunStatus.FAILED: frozenset({RunStatus.RUNNING, RunStatus.COMPENSATING}),
    RunStatus.CANCELLED: frozenset(),
    RunStatus.COMPENSATED: frozenset(),
}
