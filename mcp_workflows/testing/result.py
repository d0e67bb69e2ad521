"""What came of a simulated run: the values that expectations are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mcp_workflows.definition.program import Json
from mcp_workflows.engine.records import RunRecord, StepRecord
from mcp_workflows.engine.scope import error_view


class TestBroken(AssertionError):
    """A test that cannot go on as it is written; the message says what to write. ``step`` is where the run stood."""

    __test__ = False

    def __init__(self, message: str, step: str | None = None) -> None:
        super().__init__(message)
        self.step = step


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt: what would have been sent, secrets as ``[secret NAME]``, and how long after the start."""

    step: str
    attempt: int
    request: Json
    after: timedelta


@dataclass(frozen=True, slots=True)
class StepResult:
    """One step as recorded at the end."""

    status: str
    output: Json
    error: Mapping[str, Any] | None
    attempts: int


@dataclass(frozen=True, slots=True)
class Result:
    """A run as it stands when nothing moves it any more."""

    status: str
    output: Json
    error: Mapping[str, Any] | None
    calls: tuple[Call, ...]
    steps: Mapping[str, StepResult]
    compensation: str | None
    undone: tuple[str, ...]
    not_undone: tuple[tuple[str, str], ...]
    """``(path, why)``"""
    waiting_for: tuple[str, ...]
    took: timedelta
    left_over: tuple[int, ...] = ()
    """Positions of the planned events that never took place."""
    refused: str | None = None
    """Why no run was started."""

    @property
    def called(self) -> list[str]:
        """The paths of all attempts, in order."""
        return [call.step for call in self.calls]


def result_of(
    record: RunRecord, steps: Mapping[str, StepRecord], calls: list[Call], took: timedelta, left_over: tuple[int, ...]
) -> Result:
    return Result(
        status=str(record.status),
        output=record.output,
        error=error_view(record.error) if record.error is not None else None,
        calls=tuple(calls),
        steps={path: _step(step) for path, step in steps.items()},
        compensation=record.compensation,
        undone=record.undone,
        not_undone=tuple((one.path, one.why) for one in record.not_undone),
        waiting_for=record.waiting_for,
        took=took,
        left_over=left_over,
    )


def refusal(message: str) -> Result:
    """No run was started."""
    return Result("refused", None, None, (), {}, None, (), (), (), timedelta(0), refused=message)


def _step(record: StepRecord) -> StepResult:
    output = record.output if record.status.has_output else None
    error = error_view(record.error) if record.error is not None else None
    return StepResult(str(record.status), output, error, record.attempts_before + record.attempts)
