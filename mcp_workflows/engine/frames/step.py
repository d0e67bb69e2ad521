"""What all steps have in common: whether they are wanted, how they settle, and what happens when they fail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from mcp_workflows.definition.expressions import ExpressionFailed
from mcp_workflows.definition.program import Arm, FailWork, Json, OnFailure, ReturnWork, Step, WorkflowWork
from mcp_workflows.engine.bounds import TIMES_FOR_BLOCKS, bounded
from mcp_workflows.engine.frames.host import Break, Host, Parent
from mcp_workflows.engine.frames.sequence import Sequence
from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.paths import ON_ERROR
from mcp_workflows.engine.records import Message, StepRecord, Stopping
from mcp_workflows.engine.scope import Lexical, Scope, error_view, has_output
from mcp_workflows.engine.states import StepStatus


class StepFrame:
    """One step, from its ``when`` to its outcome. What it does in between is its kind's: ``work``."""

    __slots__ = ("host", "lexical", "parent", "path", "record", "replaying", "step")

    def __init__(self, host: Host, parent: Parent, step: Step, path: str, lexical: Lexical, *, replaying: bool) -> None:
        self.host = host
        self.parent = parent
        self.step = step
        self.path = path
        self.lexical = lexical
        self.replaying = replaying
        self.record = host.memo.get(path) or StepRecord(
            path, 0, step.kind, StepStatus.PENDING, started_at=host.now, now=host.now if step.reads_now else None
        )

    # What kinds do

    @property
    def asks(self) -> bool:
        return False

    @property
    def since(self) -> datetime:
        return self.record.started_at or self.host.now

    def work(self) -> None:
        """Begin, or go on where the record says. Raises ``ExpressionFailed``."""
        raise NotImplementedError

    def due(self) -> None:
        """The instant has come that the step waits for."""
        raise NotImplementedError

    def mail(self, message: Message) -> None:
        """The message has come that the step waits for."""
        raise NotImplementedError

    def stop(self) -> None:
        """Nothing is in flight here and nothing more may be: the step ends as far as it came."""
        self.settle(StepStatus.IN_DOUBT if self.record.in_doubt else StepStatus.CANCELLED)
        self.parent.child_stopped()

    def may_have_run(self, stopping: Stopping | None) -> bool:
        """An attempt may have begun whose end nobody saw, and it may have had an effect."""
        del stopping
        return False

    # Entering

    def enter(self) -> None:
        """Fold, go on or begin."""
        if self.record.status.settled:
            self._fold()
        elif self.parent.stopping is not None:
            self.stop()
        elif self._wanted():
            self.guarded()

    def guarded(self) -> None:
        """Work; an expression that fails there fails the step."""
        try:
            self.work()
        except ExpressionFailed as failure:
            self.fail(StepError(failure.code, str(failure)))

    def scope(self, **extra: Json) -> Scope:
        return self.host.scope(self.lexical, self.record.now or self.host.now, extra)

    @property
    def attempt_number(self) -> int:
        """Of the attempt that is next or in flight, from 1, over all generations."""
        return self.record.attempts_before + self.record.attempts + 1

    def _wanted(self) -> bool:
        """Decide ``when``, unless the step has begun already: then it was decided."""
        when = self.step.when
        if when is None or self.attempt_number > 1 or self.record.status is not StepStatus.PENDING:
            return True
        try:
            wanted = when.evaluate_bool(self.scope())
        except ExpressionFailed as failure:
            self.fail(StepError(failure.code, f"when: {failure}"))
            return False
        if not wanted:
            self.settle(StepStatus.SKIPPED)
            self.parent.child_done(self.record)
        return wanted

    def _fold(self) -> None:
        record = self.record
        if record.status is StepStatus.CANCELLED:
            self.parent.child_stopped()
        elif record.status in (StepStatus.FAILED, StepStatus.IN_DOUBT):
            self._after_failure()
        elif record.status is not StepStatus.SKIPPED and self.decided(
            "returned", isinstance(self.step.work, ReturnWork)
        ):
            self.parent.child_returned(record.output)
        else:
            self.parent.child_done(record)

    # Ending

    def output(self, result: Json) -> Json:
        """What the step gives for this result. Raises ``ExpressionFailed``."""
        if self.step.output is None:
            return self.step.default_output(result)
        rendered = self.step.output.render(self.scope(result=result))
        return bounded(rendered, self.largest, "output gives")

    @property
    def largest(self) -> int:
        """Bytes that the step may give."""
        together = self.step.is_block or isinstance(self.step.work, WorkflowWork)
        return self.host.max_output_bytes * (TIMES_FOR_BLOCKS if together else 1)

    def complete_as(self, last: StepRecord | None) -> None:
        """The output is that of the last step inside; none, if that has none."""
        if last is None or has_output(last):
            self.complete(self.output(last.output if last else None))
        else:
            self.complete(None, decision=self.deciding(empty=True))

    def complete(self, output: Json, **fields: Any) -> None:
        self.settle(StepStatus.COMPLETED, output=output, error=None, due_at=None, in_doubt=False, **fields)
        self.parent.child_done(self.record)

    def fail(self, error: StepError, *, policy: OnFailure | None = None, ends_run: bool = False) -> None:
        """The step fails for good. ``error`` is its own, or of a step inside."""
        if error.step is None:
            error = error.at(self.path, self.record.attempts_before + self.record.attempts)
        if not self.step.is_block:
            error = replace(error, in_doubt=self.record.in_doubt)
        decision: dict[str, Json] = {}
        if self.step.is_block and (ends_run or policy):
            decision = {"policy": policy, "ends_run": ends_run}
        elif not self.step.stands(error.code) and self.parent.stopping is None:
            arm = self._handler(error)
            decision = {"handler": arm.name} if arm else {}
        status = StepStatus.IN_DOUBT if self.record.in_doubt else StepStatus.FAILED
        self.settle(status, error=error, due_at=None, decision=self.deciding(**decision))
        self._after_failure()

    def settle(self, status: StepStatus, **fields: Any) -> None:
        """Record the outcome, next in the order of settling."""
        host, record = self.host, self.record
        host.seq += 1
        succeeded = status is StepStatus.COMPLETED and fields.get("error", record.error) is None
        undoable = (succeeded and self.leaves_something) or fields.get("in_doubt", record.in_doubt)
        self.record = record._replace(
            status=status, finished_at=host.now, seq=host.seq, undoable=undoable, **fields
        )  # fmt: skip
        host.write(self.record)

    @property
    def leaves_something(self) -> bool:
        """Once done there is something that undoes it."""
        return self.step.compensate is not None

    def write(self, **fields: Any) -> None:
        """Record how the open step stands; it has no place in the order of settling yet."""
        self.record = self.record._replace(seq=self.host.seq, **fields)
        self.host.write(self.record)

    # Decisions

    def decided(self, key: str, default: Json = None) -> Json:
        decision = self.record.decision
        return decision.get(key, default) if decision else default

    def deciding(self, **more: Json) -> Mapping[str, Json] | None:
        """The step's decisions, and these."""
        decision: Mapping[str, Json] = self.record.decision or {}
        return {**decision, **more} or None

    # Failing

    def _after_failure(self) -> None:
        error = self.record.error
        assert error is not None, f"{self.path} failed without an error"
        name = self.decided("handler")
        if name is not None:
            self._handle(next(arm for arm in self.step.on_error if arm.name == name), error)
        elif self.step.stands(error.code):
            policy = self.step.work.on_failure if isinstance(self.step.work, FailWork) else "pause"
            self.parent.child_broke(Break(error, policy, ends_run=True))
        elif self.decided("policy") or self.decided("ends_run"):
            self.parent.child_broke(Break(error, self.decided("policy"), self.decided("ends_run", False)))
        elif self.step.goes_on_after(error.code):
            self.parent.child_done(self.record)
        else:
            self.parent.child_broke(Break(error))

    def _handler(self, error: StepError) -> Arm | None:
        """The first arm of ``on_error`` that fits. An arm whose ``when`` cannot be evaluated does not."""
        for arm in self.step.on_error:
            try:
                if arm.when is None or arm.when.evaluate_bool(self.scope(error=error_view(error))):
                    return arm
            except ExpressionFailed:
                continue
        return None

    def _handle(self, arm: Arm, error: StepError) -> None:
        lexical = Lexical.of(arm.steps, f"{self.path}{ON_ERROR}.{arm.name}", self.lexical, {"error": error_view(error)})
        handler = Handler(self, arm, lexical)
        handler.sequence = Sequence(self.host, handler, arm.steps, lexical, replaying=self.replaying)
        self.host.agenda.append(handler.sequence.enter)


class Handler:
    """The steps that ``on_error`` does after a failure. Their output stands for the step's."""

    __slots__ = ("_arm", "_frame", "_lexical", "sequence")

    sequence: Sequence

    def __init__(self, frame: StepFrame, arm: Arm, lexical: Lexical) -> None:
        self._frame = frame
        self._arm = arm
        self._lexical = lexical

    @property
    def stopping(self) -> Stopping | None:
        return self._frame.parent.stopping

    def child_done(self, record: StepRecord | None) -> None:
        frame = self._frame
        decision = frame.record.decision
        output = record.output if record else None
        if self._arm.output is not None:
            try:
                output = self._arm.output.render(frame.host.scope(self._lexical, frame.host.now, {}))
                bounded(output, frame.largest, "it gives")
            except ExpressionFailed as failure:
                error = StepError(failure.code, f"on_error.output: {failure}")
                frame.parent.child_broke(Break(error.at(frame.path, frame.attempt_number - 1)))
                return
        elif record is not None and not has_output(record):
            decision = frame.deciding(empty=True)
        frame.settle(StepStatus.COMPLETED, output=output, decision=decision)
        self.sequence.forget()
        frame.parent.child_done(frame.record)

    def child_broke(self, failure: Break) -> None:
        self._frame.parent.child_broke(failure)

    def child_returned(self, value: Json) -> None:
        self._frame.settle(StepStatus.COMPLETED, output=value, decision=self._frame.deciding(returned=True))
        self._frame.parent.child_returned(value)

    def child_stopped(self) -> None:
        self._frame.parent.child_stopped()
