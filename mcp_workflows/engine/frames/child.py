"""``workflow``: a run that another run starts, waits for, cancels and undoes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime

from mcp_workflows.definition.expressions import ExpressionFailed
from mcp_workflows.definition.program import Json, WorkflowWork
from mcp_workflows.engine.frames.attempts import AttemptFrame
from mcp_workflows.engine.frames.host import Host
from mcp_workflows.engine.outcome import ChildStart, Outcome, Parked, StepError
from mcp_workflows.engine.records import Message, NewChild, Outgoing, ParentRun, StepRecord
from mcp_workflows.engine.states import RunStatus, StepStatus

CHILD_FAILED = "child_failed"
"""The code of a step whose child run failed."""
_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


def child_id(run_id: str, path: str, generation: int) -> str:
    """The id of the run that a step starts: a function of the step, so that none is ever started twice."""
    number = int.from_bytes(hashlib.sha256(f"{run_id}\n{path}\n{generation}".encode()).digest()[:17]) >> 6
    digits = ""
    for _ in range(26):
        number, digit = divmod(number, 32)
        digits = _CROCKFORD[digit] + digits
    return f"r_{digits}"


def child_of(record: StepRecord) -> str | None:
    """The run that a step has started and not left to itself."""
    parked: Mapping[str, Json] = record.decision.get("parked", {}) if record.decision else {}
    return parked.get("child")


def generation_of(record: StepRecord) -> int:
    """The step's generation when its child was started: what a person resumed since is still told of by that one."""
    parked: Mapping[str, Json] = record.decision.get("parked", {}) if record.decision else {}
    return parked.get("generation", record.generation)


class ChildFrame(AttemptFrame):
    """The attempt finds out what to start; the child is inserted with the record that says so."""

    __slots__ = ()

    @property
    def _work(self) -> WorkflowWork:
        assert isinstance(self.step.work, WorkflowWork)
        return self.step.work

    @property
    def leaves_something(self) -> bool:
        return super().leaves_something or not self._work.detach

    def work(self) -> None:
        parked = self.parked
        if parked is None or "told" not in parked:
            super().work()
            return
        self.record = self.record._replace(decision={"parked": {k: v for k, v in parked.items() if k != "told"}})
        self._completed(parked["told"])

    def ended(self, outcome: Outcome, started_at: datetime) -> None:
        if not isinstance(outcome, Parked) or outcome.child is None:
            super().ended(outcome, started_at)
        elif self.parent.stopping is not None:
            self.stop()
        else:
            self._spawn(outcome.child)

    def mail(self, message: Message) -> None:
        body = message.body
        status = body.get("status")
        if status == RunStatus.COMPLETED:
            self._completed(body.get("output"))
        elif self.parent.stopping is not None:
            error = self._error(body)
            self.record = self.record._replace(in_doubt=error.in_doubt, error=error if error.in_doubt else None)
            super().stop()
        else:
            self._broke(self._error(body))

    def stop(self) -> None:
        """A child that has begun is cancelled, and ends in its own time."""
        child = child_of(self.record)
        stopping = self.parent.stopping
        if child is None:
            super().stop()
            return
        compensate = stopping.compensate if stopping else True
        key = f"cancel:{self.path}:{self.record.generation}"
        self.host.send(Outgoing(child, "cancel", {"compensate": compensate}, key))
        self._go_on_elsewhere()

    def _completed(self, result: Json) -> None:
        try:
            self.complete(self.output(result))
        except ExpressionFailed as failure:
            self._broke(StepError(failure.code, f"output: {failure}", in_doubt=True))

    def _spawn(self, child: ChildStart) -> None:
        run_id = child_id(self.host.run.run_id, self.path, self.record.generation)
        parent = None if self._work.detach else ParentRun(self.host.run.run_id, self.path, self.record.generation)
        self.host.spawn(NewChild(run_id, child.workflow, child.version, child.definition_id, child.input, parent))
        if parent is None:
            self._started(run_id)
            return
        self.write(status=StepStatus.WAITING, decision={"parked": {"child": run_id}})
        self._go_on_elsewhere()

    def _started(self, run_id: str) -> None:
        """A child that is left to itself."""
        try:
            self.complete(self.output({"run_id": run_id}))
        except ExpressionFailed as failure:
            self._broke(StepError(failure.code, f"output: {failure}", in_doubt=True))

    def _go_on_elsewhere(self) -> None:
        self.host.wait(self, None, ("child", self.path, generation_of(self.record)))

    def _broke(self, error: StepError) -> None:
        self.record = self.record._replace(in_doubt=error.in_doubt, attempts=self.record.attempts + 1)
        self.fail(error)

    def _error(self, body: Json) -> StepError:
        """The child's error as this step's. What the child could not undo may still be in effect."""
        cause: dict[str, Json] = body.get("error") or {}
        said = cause.get("message") or f"it was {body.get('status')}"
        return StepError(
            CHILD_FAILED,
            f"{self._work.name} ({body.get('run_id')}) did not complete: {said}",
            in_doubt=body.get("compensation") == "incomplete",
            details={key: cause[key] for key in ("code", "step", "message", "details") if key in cause} or None,
        )


class ChildUndo:
    """Asks a completed child to undo itself. ``ended`` hears of the end: ``None``, or why it could not be undone."""

    asks = False

    def __init__(self, host: Host, record: StepRecord, ended: Callable[[StepError | None], None]) -> None:
        self._host = host
        self._record = record
        self._ended = ended
        self.path = record.path

    @property
    def since(self) -> datetime:
        return self._record.started_at or self._host.now

    def enter(self) -> None:
        child = child_of(self._record)
        assert child is not None, f"{self.path} has no child to undo"
        self._host.send(Outgoing(child, "undo", {}, f"undo:{self.path}:{self._host.seq}"))
        self._host.wait(self, None, ("child", self.path, generation_of(self._record)))

    def mail(self, message: Message) -> None:
        body = message.body
        if body.get("status") == RunStatus.COMPENSATED:
            self._ended(None)
            return
        cause: dict[str, Json] = body.get("error") or {}
        message_text = f"{body.get('run_id')} could not be undone: {cause.get('message') or body.get('status')}"
        self._ended(StepError(CHILD_FAILED, message_text, in_doubt=True, step=self.path))

    def due(self) -> None:
        raise AssertionError("nothing is due")

    def stop(self) -> None:
        raise AssertionError("undoing is not stopped")
