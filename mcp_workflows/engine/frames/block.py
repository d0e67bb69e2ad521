"""What the blocks have in common that do one list of steps at a time."""

from __future__ import annotations

from mcp_workflows.definition.program import Json, Step
from mcp_workflows.engine.frames.host import Break
from mcp_workflows.engine.frames.sequence import Sequence
from mcp_workflows.engine.frames.step import StepFrame
from mcp_workflows.engine.paths import inside
from mcp_workflows.engine.records import StepRecord, Stopping
from mcp_workflows.engine.scope import Lexical
from mcp_workflows.engine.states import StepStatus


class BlockFrame(StepFrame):
    """A step that holds steps. Its row is written before the first of them begins, so what is open inside can be found."""

    __slots__ = ()

    @property
    def stopping(self) -> Stopping | None:
        return self.parent.stopping

    def enter(self) -> None:
        """An open block is entered also where everything stops: what was in flight inside has to be settled."""
        if self.record.status.settled:
            self._fold()
        elif self.record.status is StepStatus.PENDING and self.parent.stopping is not None:
            self.stop()
        elif self._wanted():
            self.guarded()

    @property
    def opened(self) -> bool:
        """Its decisions are recorded."""
        return self.record.status is not StepStatus.PENDING

    def may_have_run(self, stopping: Stopping | None) -> bool:
        return stopping is not None and any(inside(path, self.path) for path in stopping.in_flight)

    def list_of(self, steps: tuple[Step, ...], lexical: Lexical, *, replaying: bool) -> Sequence:
        return Sequence(self.host, self, steps, lexical, replaying=replaying)

    def give(self, result: Json) -> None:
        """The block is done. Raises ``ExpressionFailed``."""
        self.complete(self.output(result))

    def child_done(self, record: StepRecord | None) -> None:
        raise NotImplementedError

    def child_broke(self, failure: Break) -> None:
        self.fail(failure.error, policy=failure.policy, ends_run=failure.ends_run)

    def child_returned(self, value: Json) -> None:
        self.settle(StepStatus.COMPLETED, output=value, error=None, due_at=None, decision=self.deciding(returned=True))
        self.parent.child_returned(value)

    def child_stopped(self) -> None:
        self.settle(StepStatus.CANCELLED)
        self.parent.child_stopped()
