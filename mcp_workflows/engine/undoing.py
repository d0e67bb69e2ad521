"""Undoing a run: what ``plan`` says, one step after the other, until all is undone or one cannot be."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from mcp_workflows.definition.program import Definition, Json
from mcp_workflows.engine import frames
from mcp_workflows.engine.draft import idempotency_key
from mcp_workflows.engine.frames.child import ChildUndo
from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.records import NotUndone, StepRecord, Stopping
from mcp_workflows.engine.scope import error_view
from mcp_workflows.engine.states import StepStatus
from mcp_workflows.engine.undo_plan import Undo, plan

CANCELLED = StepError("cancelled", "the run was cancelled")
"""What ``error`` is while a run is undone in which nothing failed: a compensation that reads it must not fail for it."""


class Undoing:
    """Of one run, from the records that the host holds. ``ended`` hears what was not undone.

    It is the parent of the compensations' steps. The first that fails ends it: what was done later may depend on what was
    done earlier, so nothing before the failed one is touched.
    """

    stopping: Stopping | None = None

    def __init__(
        self, host: frames.Host, definition: Definition, cause: StepError | None,
        ended: Callable[[Sequence[NotUndone]], None], *, replaying: bool,
    ) -> None:  # fmt: skip
        found = plan(definition, host.memo)
        self._host = host
        self._cause = cause or CANCELLED
        self._ended = ended
        self._replaying = replaying
        self._todo = deque(found.todo)
        self._impossible = found.impossible

    def enter(self) -> None:
        """Undo the next step, or end."""
        if not self._todo:
            self._ended(self._impossible)
            return
        undo = self._todo[0]
        record = self._host.memo[undo.path]
        if record.status is not StepStatus.COMPENSATING:
            self._host.write(record._replace(status=StepStatus.COMPENSATING))
        replaying, self._replaying = self._replaying, False
        if undo.compensation is None:
            self._host.agenda.append(ChildUndo(self._host, record, self._settle).enter)
            return
        lexical = undo.lexical(self._seen(record))
        frame = frames.Sequence(self._host, self, undo.compensation.steps, lexical, replaying=replaying)
        self._host.agenda.append(frame.enter)

    def child_done(self, record: StepRecord | None) -> None:
        del record
        self._settle(None)

    def child_broke(self, failure: frames.Break) -> None:
        self._settle(failure.error)

    def child_returned(self, value: Json) -> None:
        del value
        self._settle(None)

    def child_stopped(self) -> None:
        raise AssertionError("undoing is not stopped")

    def _settle(self, error: StepError | None) -> None:
        undo = self._todo.popleft()
        record = self._host.memo[undo.path]
        if error is None:
            self._host.write(record._replace(status=StepStatus.COMPENSATED))
            self._host.agenda.append(self.enter)
            return
        before = StepStatus.IN_DOUBT if record.error else StepStatus.COMPLETED
        self._host.write(record._replace(status=before))
        attempts = f" ({error.attempts} attempts)" if (error.attempts or 0) > 1 else ""
        self._ended((NotUndone(undo.path, error.message + attempts), *self._not_tried(undo), *self._impossible))

    def _not_tried(self, failed: Undo) -> Iterable[NotUndone]:
        return (NotUndone(other.path, f"not tried: {failed.path} must be undone first") for other in self._todo)

    def _seen(self, record: StepRecord) -> Mapping[str, Json]:
        key = idempotency_key(self._host.run.run_id, record)
        return {"error": error_view(self._cause), "idempotency_key": key}
