"""Work that ``steps`` does: attempts, their retries, and work that has begun and goes on elsewhere."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from mcp_workflows.definition.expressions import ExpressionFailed
from mcp_workflows.definition.program import INTERRUPTED, Json
from mcp_workflows.engine.frames.step import StepFrame
from mcp_workflows.engine.outcome import Completed, Failed, Outcome, Parked, StepError
from mcp_workflows.engine.records import AttemptRecord, Message, Stopping
from mcp_workflows.engine.retry import next_attempt_at
from mcp_workflows.engine.states import StepStatus

CALLBACK_TIMEOUT = "callback_timeout"
"""The code of work that was begun elsewhere and was not called back in time."""


class AttemptFrame(StepFrame):
    """One step that is tried until it is done or out of attempts."""

    __slots__ = ()

    @property
    def parked(self) -> Json:
        """What the attempt that goes on elsewhere left as a note."""
        decision = self.record.decision
        return decision.get("parked") if decision else None

    # Going on

    def enter(self) -> None:
        if self.record.status.settled:
            self._fold()
            return
        stopping = self.parent.stopping
        in_doubt = self.may_have_run(stopping)
        if in_doubt:
            self.record = self.record._replace(in_doubt=True)
        if stopping is not None:
            (self._lost if in_doubt and self.parked is None else self.stop)()
        elif self.record.status is StepStatus.RUNNING and self.step.at_most_once and self.parked is None:
            self._interrupted()
        elif self.record.in_doubt or self._wanted():
            self.guarded()

    def may_have_run(self, stopping: Stopping | None) -> bool:
        if not self.step.has_effect or self.parked is not None:
            return False
        if stopping is not None and self.path in stopping.in_flight:
            return True
        record = self.record
        if self.path not in self.host.memo:
            recorded_first = self.step.at_most_once or self.step.reads_now
            return self.replaying and not recorded_first
        if record.status is StepStatus.RUNNING:
            return self.replaying or self.step.at_most_once
        due_at, began = record.due_at, record.started_at
        waits = record.status is StepStatus.WAITING and due_at is not None and due_at > self.host.now
        set_back = began is not None and began > self.host.now  # a clock that says nothing of whether its time had come
        return self.replaying and (set_back or not waits)

    def work(self) -> None:
        if self.parked is not None:
            self._go_on_elsewhere()
        elif self.record.status is StepStatus.WAITING and self.record.due_at and self.record.due_at > self.host.now:
            self.host.wait(self, self.record.due_at)
        else:
            self._launch()

    def due(self) -> None:
        if self.parent.stopping is not None:
            self.stop()
        elif self.parked is None or self.decided("asked"):
            self._launch()
        else:
            self._not_called_back()

    def lasts(self) -> None:
        """The attempt in flight takes long enough to be shown to others."""
        if self.record.status is not StepStatus.RUNNING and self.parked is None:
            self.write(status=StepStatus.RUNNING, due_at=None)

    def _launch(self) -> None:
        """Make an attempt, once what must be known before it is recorded."""
        unrecorded_now = self.step.reads_now and self.path not in self.host.memo
        if (self.step.at_most_once and self.parked is None) or unrecorded_now:
            self.write(status=StepStatus.RUNNING, due_at=None)
        self.host.launch(self)

    def withheld(self) -> None:
        """The attempt was not made: take back that it was to begin, and record what doubt there is of earlier ones."""
        if self.step.at_most_once and self.parked is None:
            self.write(status=StepStatus.PENDING)
        elif self.record.in_doubt:
            self.write()

    # An attempt ended

    def ended(self, outcome: Outcome, started_at: datetime) -> None:
        match outcome:
            case Parked():
                self._park(outcome)
            case Failed(error=error):
                self._attempt_failed(error, started_at)
            case Completed(result=result):
                try:
                    output = self.output(result)
                except ExpressionFailed as failure:
                    # The work was done, so whatever it changed has to be undone although there is no output to show.
                    error = StepError(failure.code, f"output: {failure}", in_doubt=self.step.has_effect)
                    self._attempt_failed(error, started_at)
                else:
                    self.complete(output, attempts=self.record.attempts + 1)

    def _attempt_failed(self, error: StepError, started_at: datetime) -> None:
        host = self.host
        number = self.attempt_number
        host.attempt_failed(AttemptRecord(self.path, number, error, started_at, host.now))
        in_doubt = self.record.in_doubt or error.in_doubt
        error = replace(error, in_doubt=in_doubt).at(self.path, number)
        self.record = self.record._replace(
            attempts=self.record.attempts + 1, in_doubt=in_doubt, error=error, decision=None
        )
        due_at = None if self.parent.stopping else next_attempt_at(
            self.step.retry, error, attempts=self.record.attempts, first_at=self.record.started_at or host.now,
            now=host.now, salt=self.path,
        )  # fmt: skip
        if due_at is None:
            self.fail(error)
        else:
            self.write(status=StepStatus.WAITING, due_at=due_at)
            host.wait(self, due_at)

    # Work that goes on elsewhere

    def _park(self, parked: Parked) -> None:
        after = parked.wake_after if parked.wake_after is not None else parked.expires_after
        due_at = None if after is None else self.host.now + timedelta(seconds=after)
        decision = {"parked": parked.note, "asked": parked.wake_after is not None}
        self.host.seq += 1  # to have been answered is progress, however often a server dies in between
        self.write(status=StepStatus.WAITING, due_at=due_at, decision=decision)
        if self.parent.stopping is not None:
            self.stop()
        else:
            self._go_on_elsewhere()

    def _go_on_elsewhere(self) -> None:
        """Ask again when it is time, or wait for the message that may have come already."""
        asked = self.decided("asked")
        if asked and self.record.due_at is None:  # it was stopped, and asked for anew by a person
            self.host.launch(self)
            return
        self.host.wait(self, self.record.due_at, None if asked else ("callback", self.path, 0))

    def mail(self, message: Message) -> None:
        """A call for any attempt of this request is as good; one for what the request was before its correction is none."""
        before = self.record.attempts_before if self.record.corrected else 0
        if int(message.body.get("attempt") or 0) <= before:
            self._go_on_elsewhere()
            return
        first = self.parked["first"]
        self.ended(Completed({"body": message.body.get("body"), "first": first}), self.host.now)

    def stop(self) -> None:
        if self.parked is not None and self.step.has_effect:
            message = "the run stopped while this work went on elsewhere: it is unknown whether it took place"
            error = StepError(INTERRUPTED, message, in_doubt=True, step=self.path)
            self.record = self.record._replace(in_doubt=True, error=error)
        elif self.record.in_doubt and self.record.error is None:
            self.record = self.record._replace(error=self._loss())
        super().stop()

    def _not_called_back(self) -> None:
        message = "the service took the request and did not call back in time: it is unknown whether it took place"
        self._attempt_failed(StepError(CALLBACK_TIMEOUT, message, in_doubt=self.step.has_effect), self.host.now)

    # An attempt whose end nobody saw

    def cut_off(self, error: StepError) -> StepError:
        """The run is set aside here: settle the step if it is in doubt. Answers with the error as the run's."""
        if not (self.record.in_doubt or self.may_have_run(self.parent.stopping)):
            return error
        error = replace(error, in_doubt=True).at(self.path, self.attempt_number)
        self.settle(
            StepStatus.IN_DOUBT, error=error, due_at=None, in_doubt=True, attempts=self.record.attempts + 1
        )  # fmt: skip
        return error

    def _interrupted(self) -> None:
        message = (
            "the server died while this step was in flight, and it must run at most once: "
            "it is unknown whether it took place"
        )
        self.record = self.record._replace(in_doubt=True, attempts=self.record.attempts + 1)
        self.fail(StepError(INTERRUPTED, message, in_doubt=True))

    def _lost(self) -> None:
        """Nothing more is started here, an attempt may have been in flight, and whoever made it is gone."""
        self.record = self.record._replace(error=self._loss())
        self.stop()

    def _loss(self) -> StepError:
        message = "the server died while this step was in flight, and then the run stopped: it is unknown whether it took place"
        return StepError(INTERRUPTED, message, in_doubt=True, step=self.path)
