"""Work that is done as soon as it is decided: ``set``, ``return`` and ``fail``."""

from __future__ import annotations

from mcp_workflows.definition.program import FailWork, ReturnWork, SetWork
from mcp_workflows.engine.frames.step import StepFrame
from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.states import StepStatus


class ComputedFrame(StepFrame):
    """Nothing but expressions."""

    __slots__ = ()

    def work(self) -> None:
        match self.step.work:
            case SetWork(values=values):
                self.complete(self.output(values.render(self.scope())))
            case ReturnWork(value=value):
                output = value.render(self.scope())
                self.settle(StepStatus.COMPLETED, output=output, error=None)
                self.parent.child_returned(output)
            case FailWork() as work:
                self.fail(self._purpose(work))
            case _:
                raise AssertionError(f"{self.step.kind} is not computed")

    def _purpose(self, work: FailWork) -> StepError:
        scope = self.scope()
        message = work.message.render(scope)
        return StepError(
            work.code,
            message if isinstance(message, str) else repr(message),
            details=work.details.render(scope) if work.details else None,
        )
