"""The live part of a run: a small frame for each step, and each list of steps, that is open now.

A frame is entered once. It asks the memo first: what is recorded there is folded, what is open there goes on, what is not
there begins. So the live machine and one rebuilt from its records are the same machine. Frames put what comes next on the
agenda instead of calling one another, so that depth and length cost no stack.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from mcp_workflows.definition.expressions import ExpressionFailed
from mcp_workflows.definition.program import INTERRUPTED, FailWork, Json, OnFailure, ReturnWork, SetWork, Step, WaitWork
from mcp_workflows.engine.outcome import Completed, Outcome, StepError
from mcp_workflows.engine.records import AttemptRecord, StepRecord, Stopping
from mcp_workflows.engine.retry import next_attempt_at
from mcp_workflows.engine.scope import Lexical, Scope
from mcp_workflows.engine.states import StepStatus


class Host(Protocol):
    """What a frame needs of the machine that holds it."""

    agenda: deque[Callable[[], None]]
    now: datetime
    seq: int
    """The place of the last record in the order of settling."""

    @property
    def memo(self) -> Mapping[str, StepRecord]: ...
    @property
    def stopping(self) -> Stopping | None: ...
    def scope(self, lexical: Lexical, now: datetime, extra: Mapping[str, Json]) -> Scope: ...
    def write(self, record: StepRecord) -> None: ...
    def attempt_failed(self, attempt: AttemptRecord) -> None: ...
    def launch(self, leaf: Leaf) -> None: ...
    def wake(self, leaf: Leaf, due_at: datetime) -> None: ...


class Parent(Protocol):
    """What a frame tells the one around it when it ends."""

    def child_done(self, record: StepRecord | None) -> None:
        """Its work is done, skipped, or failed and passed over. ``record`` is that of the last step."""
        ...

    def child_broke(self, error: StepError, policy: OnFailure | None) -> None:
        """It failed for good. ``policy`` is what the failing step itself asks for."""
        ...

    def child_returned(self, value: Json) -> None: ...

    def child_stopped(self) -> None:
        """It ended because it was asked to start nothing more."""
        ...


class Sequence:
    """Steps one after the other."""

    __slots__ = ("_extra", "_host", "_last", "_lexical", "_parent", "_position", "_replaying", "_steps")

    def __init__(
        self, host: Host, parent: Parent, steps: tuple[Step, ...], lexical: Lexical, *,
        replaying: bool, extra: Mapping[str, Json] | None = None,
    ) -> None:  # fmt: skip
        self._host = host
        self._parent = parent
        self._steps = steps
        self._lexical = lexical
        self._extra = extra or {}
        self._position = 0
        self._last: StepRecord | None = None
        self._replaying = replaying

    def enter(self) -> None:
        """Go to the next step, or end. ``replaying`` holds until the first step whose outcome is not recorded."""
        host = self._host
        stopping = host.stopping
        if self._position == len(self._steps):
            if stopping:
                self._parent.child_stopped()
            else:
                self._parent.child_done(self._last)
            return
        step = self._steps[self._position]
        path = self._lexical.prefix + step.name
        record = host.memo.get(path)
        frontier = self._replaying and not (record and record.status.settled)
        if frontier:
            self._replaying = False
        leaf = Leaf(host, self, step, path, self._lexical, self._extra, maybe_in_flight=frontier)
        if stopping and record is None and not leaf.may_have_run(stopping):
            self._parent.child_stopped()
        else:
            leaf.enter()

    def child_done(self, record: StepRecord | None) -> None:
        self._last = record
        self._position += 1
        self._host.agenda.append(self.enter)

    def child_broke(self, error: StepError, policy: OnFailure | None) -> None:
        self._parent.child_broke(error, policy)

    def child_returned(self, value: Json) -> None:
        self._parent.child_returned(value)

    def child_stopped(self) -> None:
        self._parent.child_stopped()


class Leaf:
    """One step that holds no steps: from its ``when`` through its attempts to its outcome."""

    __slots__ = ("_extra", "_host", "_lexical", "_maybe_in_flight", "_parent", "path", "record", "step")

    def __init__(
        self, host: Host, parent: Parent, step: Step, path: str, lexical: Lexical, extra: Mapping[str, Json], *,
        maybe_in_flight: bool,
    ) -> None:  # fmt: skip
        """``maybe_in_flight``: an attempt may have been under way when the last owner went away."""
        self._host = host
        self._parent = parent
        self._lexical = lexical
        self._extra = extra
        self._maybe_in_flight = maybe_in_flight
        self.step = step
        self.path = path
        self.record = host.memo.get(path) or StepRecord(
            path, 0, step.kind, StepStatus.PENDING, started_at=host.now, now=host.now if step.reads_now else None
        )

    @property
    def attempt_number(self) -> int:
        """Of the attempt that is next or in flight, from 1, over all generations."""
        return self.record.attempts_before + self.record.attempts + 1

    def scope(self, **extra: Json) -> Scope:
        now = self.record.now or self._host.now
        return self._host.scope(self._lexical, now, {**self._extra, **extra} if extra else self._extra)

    def enter(self) -> None:
        """Fold, go on or begin."""
        if self.record.status.settled:
            self._fold()
            return
        stopping = self._host.stopping
        in_doubt = self.may_have_run(stopping)
        if in_doubt:
            self.record = self.record._replace(in_doubt=True)
        if stopping is not None:
            (self._lost if in_doubt else self.stop)()
        elif self.record.status is StepStatus.RUNNING and self.step.at_most_once:
            self._interrupted()
        elif self._wanted():
            self._work()

    def may_have_run(self, stopping: Stopping | None) -> bool:
        """An attempt may have begun whose end nobody saw, and it may have had an effect."""
        if not self.step.has_effect:
            return False
        if stopping is not None and self.path in stopping.in_flight:
            return True
        record = self.record
        if self.path not in self._host.memo:
            recorded_first = self.step.at_most_once or self.step.reads_now
            return self._maybe_in_flight and not recorded_first
        if record.status is StepStatus.RUNNING:
            return self._maybe_in_flight or self.step.at_most_once
        waits = record.status is StepStatus.WAITING and record.due_at is not None and record.due_at > self._host.now
        return self._maybe_in_flight and not waits

    def resume_work(self) -> None:
        """The instant has come that this step waited for."""
        if isinstance(self.step.work, WaitWork):
            self._complete(None)
        else:
            self._launch()

    def ended(self, outcome: Outcome, started_at: datetime) -> None:
        """An attempt ended."""
        if not isinstance(outcome, Completed):
            self._attempt_failed(outcome.error, started_at)
            return
        try:
            output = self._output(outcome.result)
        except ExpressionFailed as failure:
            # The work was done, so whatever it changed has to be undone although there is no output to show for it.
            error = StepError("expression", f"output: {failure}", in_doubt=self.step.has_effect)
            self._attempt_failed(error, started_at)
        else:
            self._complete(output, attempts=self.record.attempts + 1)

    def lasts(self) -> None:
        """The attempt in flight takes long enough to be shown to others."""
        if self.record.status is not StepStatus.RUNNING:
            self._write(status=StepStatus.RUNNING, due_at=None)

    def stop(self) -> None:
        """Nothing is in flight here and nothing more may be: the step ends as far as it came."""
        if self.record.in_doubt:
            self._settle(StepStatus.IN_DOUBT)
        else:
            self._settle(StepStatus.CANCELLED)
        self._parent.child_stopped()

    def cut_off(self, error: StepError) -> StepError:
        """The run is set aside here: settle the step if it is in doubt. Answers with the error as the run's."""
        if not (self.record.in_doubt or self.may_have_run(self._host.stopping)):
            return error
        error = replace(error, in_doubt=True).at(self.path, self.attempt_number)
        self._settle(
            StepStatus.IN_DOUBT, error=error, due_at=None, in_doubt=True, attempts=self.record.attempts + 1
        )  # fmt: skip
        return error

    def _fold(self) -> None:
        record = self.record
        if record.status is StepStatus.CANCELLED:
            self._parent.child_stopped()
        elif record.status in (StepStatus.FAILED, StepStatus.IN_DOUBT):
            self._pass_on_failure()
        elif isinstance(self.step.work, ReturnWork) and record.status is not StepStatus.SKIPPED:
            self._parent.child_returned(record.output)
        else:
            self._parent.child_done(record)

    def _wanted(self) -> bool:
        """Decide ``when``, unless an attempt was made already: then it was decided."""
        if self.step.when is None or self.attempt_number > 1 or self.record.status is StepStatus.WAITING:
            return True
        try:
            wanted = self.step.when.evaluate_bool(self.scope())
        except ExpressionFailed as failure:
            self._fail(StepError("expression", f"when: {failure}"))
            return False
        if not wanted:
            self._settle(StepStatus.SKIPPED)
            self._parent.child_done(self.record)
        return wanted

    def _work(self) -> None:
        work = self.step.work
        try:
            match work:
                case SetWork():
                    self._complete(self._output(work.values.render(self.scope())))
                case ReturnWork():
                    self._complete(work.value.render(self.scope()))
                case FailWork():
                    self._fail(self._purpose(work))
                case WaitWork():
                    self._wait(work)
                case _ if self.record.status is StepStatus.WAITING and self.record.due_at is not None:
                    self._host.wake(self, self.record.due_at)
                case _:
                    self._launch()
        except ExpressionFailed as failure:
            self._fail(StepError("expression", str(failure)))

    def _wait(self, work: WaitWork) -> None:
        due_at = self.record.due_at
        if due_at is None:
            due_at = self._due(work)
            self._write(status=StepStatus.WAITING, due_at=due_at)
        self._host.wake(self, due_at)

    def _due(self, work: WaitWork) -> datetime:
        if work.until is None:
            return self._host.now + timedelta(seconds=work.seconds or 0.0)
        value = work.until.render(self.scope())
        try:
            due_at = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        except (TypeError, ValueError):
            raise ExpressionFailed(
                f"wait.until gives {value!r}, which is no instant like 2026-11-22T09:00:00Z", ""
            ) from None
        if due_at.tzinfo is None:
            raise ExpressionFailed(f"wait.until gives {value!r}, which names no time zone: add Z or an offset", "")
        return due_at

    def _launch(self) -> None:
        """Make an attempt, once what must be known before it is recorded."""
        unrecorded_now = self.step.reads_now and self.path not in self._host.memo
        if self.step.at_most_once or unrecorded_now:
            self._write(status=StepStatus.RUNNING, due_at=None)
        self._host.launch(self)

    def _output(self, result: Json) -> Json:
        if self.step.output is None:
            return self.step.default_output(result)
        return self.step.output.render(self.scope(result=result))

    def _complete(self, output: Json, *, attempts: int = 0) -> None:
        self._settle(
            StepStatus.COMPLETED, output=output, error=None, due_at=None, in_doubt=False,
            attempts=attempts or self.record.attempts,
        )  # fmt: skip
        if isinstance(self.step.work, ReturnWork):
            self._parent.child_returned(output)
        else:
            self._parent.child_done(self.record)

    def _attempt_failed(self, error: StepError, started_at: datetime) -> None:
        host = self._host
        number = self.attempt_number
        host.attempt_failed(AttemptRecord(self.path, number, error, started_at, host.now))
        in_doubt = self.record.in_doubt or error.in_doubt
        error = replace(error, in_doubt=in_doubt).at(self.path, number)
        self.record = self.record._replace(attempts=self.record.attempts + 1, in_doubt=in_doubt, error=error)
        due_at = None if host.stopping else next_attempt_at(
            self.step.retry, error, attempts=self.record.attempts, first_at=self.record.started_at or host.now,
            now=host.now, salt=self.path,
        )  # fmt: skip
        if due_at is None:
            self._fail(error)
        else:
            self._write(status=StepStatus.WAITING, due_at=due_at)
            host.wake(self, due_at)

    def _interrupted(self) -> None:
        message = (
            "the server died while this step was in flight, and it must run at most once: "
            "it is unknown whether it took place"
        )
        self.record = self.record._replace(in_doubt=True, attempts=self.record.attempts + 1)
        self._fail(StepError(INTERRUPTED, message, in_doubt=True))

    def _lost(self) -> None:
        """The run is stopping, an attempt may have been in flight, and whoever made it is gone."""
        message = "the server died while this step was in flight and the run was stopping: it is unknown whether it took place"
        self.record = self.record._replace(error=StepError(INTERRUPTED, message, in_doubt=True, step=self.path))
        self.stop()

    def _fail(self, error: StepError) -> None:
        if error.step is None:
            error = error.at(self.path, self.record.attempts_before + self.record.attempts)
        status = StepStatus.IN_DOUBT if self.record.in_doubt else StepStatus.FAILED
        self._settle(status, error=replace(error, in_doubt=self.record.in_doubt), due_at=None)
        self._pass_on_failure()

    def _pass_on_failure(self) -> None:
        error = self.record.error
        assert error is not None, f"{self.path} failed without an error"
        work = self.step.work
        if self.step.goes_on_after(error.code):
            self._parent.child_done(self.record)
        elif self.step.at_most_once and error.code == INTERRUPTED:
            self._parent.child_broke(error, "pause")
        else:
            self._parent.child_broke(error, work.on_failure if isinstance(work, FailWork) else None)

    def _purpose(self, work: FailWork) -> StepError:
        scope = self.scope()
        message = work.message.render(scope)
        return StepError(
            work.code,
            message if isinstance(message, str) else repr(message),
            details=work.details.render(scope) if work.details else None,
        )

    def _write(self, **fields: Any) -> None:
        """Record how the open step stands; it has no place in the order of settling yet."""
        self.record = self.record._replace(seq=self._host.seq, **fields)
        self._host.write(self.record)

    def _settle(self, status: StepStatus, **fields: Any) -> None:
        """Record the outcome, next in the order of settling."""
        host = self._host
        host.seq += 1
        self.record = self.record._replace(status=status, finished_at=host.now, seq=host.seq, **fields)
        host.write(self.record)
