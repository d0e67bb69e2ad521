"""``wait``: nothing until an instant, which is decided once."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from mcp_workflows.definition.durations import LONGEST_SECONDS
from mcp_workflows.definition.expressions import ExpressionFailed
from mcp_workflows.definition.program import Json, WaitWork
from mcp_workflows.engine.frames.step import StepFrame
from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.states import StepStatus

_SHOWN = 60


class TimerFrame(StepFrame):
    __slots__ = ()

    def work(self) -> None:
        due_at = self.record.due_at
        if due_at is None:
            assert isinstance(self.step.work, WaitWork)
            due_at = self._due_at(self.step.work)
            self.write(status=StepStatus.WAITING, due_at=due_at)
        self.host.wait(self, due_at)

    def due(self) -> None:
        try:
            output = self.output(None)
        except ExpressionFailed as failure:
            self.fail(StepError(failure.code, f"output: {failure}"))
        else:
            self.complete(output)

    def _due_at(self, work: WaitWork) -> datetime:
        if work.until is None:
            return self.host.now + timedelta(seconds=work.seconds or 0.0)
        value = work.until.render(self.scope())
        said = f"wait.until gives {_shown(value)}, which"
        try:
            due_at = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        except (TypeError, ValueError):
            raise ExpressionFailed(f"{said} is no instant like 2026-11-22T09:00:00Z", "") from None
        if due_at.tzinfo is None:
            raise ExpressionFailed(f"{said} names no time zone: add Z or an offset", "")
        away = due_at - self.host.now
        if away > timedelta(seconds=LONGEST_SECONDS):
            raise ExpressionFailed(f"{said} is more than 100 years away", "")
        return self.host.now + max(away, timedelta())


def _shown(value: Json) -> str:
    text = str(value) if isinstance(value, datetime) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
