"""Work that is done as soon as it is decided: ``set``, ``return`` and ``fail``."""

from __future__ import annotations

from mcp_workflows.definition.program import FailWork, ReturnWork, SetWork
from mcp_workflows.engine.bounds import TIMES_FOR_BLOCKS, bounded
from mcp_workflows.engine.frames.step import StepFrame
from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.states import StepStatus


class ComputedFrame(StepFrame):
    """Nothing but expressions."""

    __slots__ = ()

    def work(self) -> None:
        match self.step.work:
            case SetWork(values=values):
                self.complete(self.output(bounded(values.render(self.scope()), self.largest, "set gives")))
            case ReturnWork(value=value):
                most = self.host.max_output_bytes * TIMES_FOR_BLOCKS  # it is the run's result
                output = bounded(value.render(self.scope()), most, "return gives")
                self.settle(StepStatus.COMPLETED, output=output, error=None)
                self.parent.child_returned(output)
            case FailWork() as work:
                self.fail(self._purpose(work))
            case _:
                raise AssertionError(f"{self.step.kind} is not computed")

    def _purpose(self, work: FailWork) -> StepError:
        scope = self.scope()
        message = bounded(work.message.render(scope), self.largest, "message gives")
        return StepError(
            work.code,
            message if isinstance(message, str) else repr(message),
            details=bounded(work.details.render(scope), self.largest, "details give") if work.details else None,
        )
