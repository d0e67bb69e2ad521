"""Steps one after the other."""

from __future__ import annotations

from mcp_workflows.definition.program import Json, Step
from mcp_workflows.engine.frames.host import Break, Host, Parent
from mcp_workflows.engine.records import StepRecord, Stopping
from mcp_workflows.engine.scope import Lexical


class Sequence:
    """One list of steps. ``replaying``: what is open in it may have been in flight when the last owner went away."""

    __slots__ = ("_host", "_last", "_parent", "_position", "_replaying", "lexical", "steps")

    def __init__(
        self, host: Host, parent: Parent, steps: tuple[Step, ...], lexical: Lexical, *, replaying: bool
    ) -> None:
        self._host = host
        self._parent = parent
        self._position = 0
        self._last: StepRecord | None = None
        self._replaying = replaying
        self.steps = steps
        self.lexical = lexical

    @property
    def stopping(self) -> Stopping | None:
        return self._parent.stopping

    def enter(self) -> None:
        """Go to the next step, or end. ``replaying`` holds until the first step whose outcome is not recorded."""
        stopping = self._parent.stopping
        if self._position == len(self.steps):
            if stopping:
                self._parent.child_stopped()
            else:
                self._parent.child_done(self._last)
            return
        step = self.steps[self._position]
        path = self.lexical.prefix + step.name
        record = self._host.memo.get(path)
        folded = record is not None and record.status.settled and record.handler is None
        frontier = self._replaying and not folded
        frame = self._host.frame(self, step, path, self.lexical, replaying=self._replaying)
        if frontier:
            self._replaying = False
        if stopping and record is None and not frame.may_have_run(stopping):
            self._parent.child_stopped()
        else:
            frame.enter()

    def forget(self) -> None:
        """The list is folded into what holds it."""
        self._host.forget(self.lexical, self.steps)

    def child_done(self, record: StepRecord | None) -> None:
        self._last = record
        self._position += 1
        self._host.agenda.append(self.enter)

    def child_broke(self, failure: Break) -> None:
        self._parent.child_broke(failure)

    def child_returned(self, value: Json) -> None:
        self._parent.child_returned(value)

    def child_stopped(self) -> None:
        self._parent.child_stopped()
