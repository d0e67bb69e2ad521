"""The machine that decides what a run does next.

It is pure: no clock, no I/O, no randomness, no threads. It is given a definition, a run and the records of its steps, then
told what happened (an attempt ended, an instant has come, a message arrived), and answers from ``pump`` with what to record
and, once that is recorded, which attempts to make. Rebuilding it from the records at any moment gives the same machine.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mcp_workflows.definition.expressions import ExpressionFailed
from mcp_workflows.definition.program import Definition, Json, OnFailure
from mcp_workflows.engine import frames, moves
from mcp_workflows.engine.corrections import broken, composed, corrected, reopen
from mcp_workflows.engine.outcome import Outcome, StepCall, StepError
from mcp_workflows.engine.records import AttemptRecord, Message, Run, StepRecord, Stopping, Turn
from mcp_workflows.engine.scope import Lexical, RunValues, Scope, error_view
from mcp_workflows.engine.states import RunStatus, StepStatus
from mcp_workflows.engine.undo import SUFFIX, Plan, Undo, plan

CANCELLED = StepError("cancelled", "the run was cancelled")
"""What ``error`` is while a run is undone in which nothing failed: a compensation that reads it must not fail for it."""

HOLD = timedelta(seconds=5)
"""A run that waits longer than this is released: it costs a row then, and no memory."""

NOT_UNDONE = "not_undone"
"""The code of a run that was cancelled and could not be undone."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """What ``pump`` answers. ``attempts`` may be made only after ``turn`` is committed; ``more``: pump again after that."""

    turn: Turn | None
    attempts: Sequence[StepCall]
    more: bool


class Machine:
    """One run. Every public method takes ``now``, which must not go backwards between calls."""

    def __init__(
        self, definition: Definition, run: Run, steps: Iterable[StepRecord], *,
        variables: Mapping[str, Json], hold: timedelta = HOLD,
    ) -> None:  # fmt: skip
        self.definition = definition
        self.record = run.record
        self.memo: dict[str, StepRecord] = {step.path: step for step in steps}
        self.agenda: deque[Callable[[], None]] = deque()
        self.now = run.created_at
        self._run = run
        self._hold = hold
        self.seq = max((step.seq for step in self.memo.values()), default=0)
        self._values = RunValues(run, corrected(run.input, run.record.corrections), variables, self.memo)
        self._replaying = run.interrupted
        self._flying: dict[str, frames.Leaf] = {}
        self._waiting: dict[str, frames.Leaf] = {}
        self._timers: list[tuple[datetime, str]] = []
        self._dirty: dict[str, StepRecord] = {}
        self._attempts: list[AttemptRecord] = []
        self._calls: list[StepCall] = []
        self._consumed: list[int] = []
        self._recorded = run.record
        self._plan: Plan | None = None

    # What happened

    def begin(self, now: datetime) -> None:
        """Enter the run where its records say that it stands."""
        self.now = now
        if self.record.status is RunStatus.PENDING:
            self.record = moves.begin(self.record, self.definition, now)
        if self.record.status in (RunStatus.RUNNING, RunStatus.WAITING):
            self._enter_root()
        elif self.record.status is RunStatus.COMPENSATING:
            self._next_undo()

    def attempt_ended(self, call: StepCall, outcome: Outcome, started_at: datetime, now: datetime) -> None:
        """An attempt ended. One that nobody waits for any more changes nothing."""
        leaf = self._flying.get(call.path)
        if leaf is None or leaf.attempt_number != call.attempt:
            return
        self.now = now
        del self._flying[call.path]
        self.agenda.append(lambda: leaf.ended(outcome, started_at))

    def attempt_lasts(self, call: StepCall) -> None:
        """An attempt takes long enough to be shown to others: note that it runs."""
        leaf = self._flying.get(call.path)
        if leaf is not None and leaf.attempt_number == call.attempt:
            leaf.lasts()

    def receive(self, message: Message, now: datetime) -> None:
        """Take a message from the inbox; one that no longer fits the run's state is consumed without effect."""
        self.now = now
        self._consumed.append(message.message_id)
        match message.kind:
            case "cancel":
                self._cancel(compensate=bool(message.body.get("compensate", True)))
            case "resume":
                self._resume(message)

    def advance(self, now: datetime) -> None:
        """Let everything happen that was due, in due order."""
        self.now = now
        while self._timers and self._timers[0][0] <= now:
            due_at, path = heapq.heappop(self._timers)
            leaf = self._waiting.get(path)
            if leaf is not None and leaf.record.due_at == due_at:
                del self._waiting[path]
                self.agenda.append(leaf.resume_work)
        deadline = self.record.timeout_at
        if deadline is not None and deadline <= now and self._goes_forward and not self.record.stopping:
            self._stop(Stopping("timeout", tuple(self._flying)))

    def set_aside(self, error: StepError, now: datetime, consumed: Iterable[int] = ()) -> None:
        """Of a machine that was just rebuilt, before anything happened: no node can go on with it.

        It is paused, or its undoing ends incomplete, for a person to look at. The step that may have been in flight is in
        doubt. ``consumed``: messages that were taken in without a decision that could be recorded.
        """
        self.now = now
        self.agenda.clear()
        self._consumed += consumed
        if self.record.status is RunStatus.PENDING:
            self.record = moves.begin(self.record, self.definition, now)
        if self.record.status is RunStatus.COMPENSATING:
            rest = plan(self.definition, self.memo)
            self._end_compensated((*((undo.path, error.message) for undo in rest.todo), *rest.impossible))
        elif self._goes_forward:
            self.record = moves.pause(self.record, self._cut_off(error), now)

    def pump(self, now: datetime, budget: int = 256) -> Decisions:
        """Decide until nothing can be decided or ``budget`` records are made."""
        self.now = now
        while self.agenda and len(self._dirty) < budget:
            self.agenda.popleft()()
        more = bool(self.agenda)
        release = not more and not self._flying and not self._calls and self._rest()
        turn = self._turn(release=release)
        calls, self._calls = self._calls, []
        return Decisions(turn, calls, more)

    # How it stands

    @property
    def wake_at(self) -> datetime | None:
        """The earliest instant at which ``advance`` has something to do."""
        while self._timers and self._timers[0][1] not in self._waiting:
            heapq.heappop(self._timers)
        instants = [self._timers[0][0]] if self._timers else []
        if self.record.timeout_at is not None and self._goes_forward and not self.record.stopping:
            instants.append(self.record.timeout_at)
        return min(instants, default=None)

    @property
    def under_way(self) -> tuple[str, ...]:
        """Paths of the steps in flight or waiting, for people."""
        return (*self._flying, *self._waiting)

    # What frames ask of their host

    @property
    def stopping(self) -> Stopping | None:
        return self.record.stopping if self._goes_forward else None

    def scope(self, lexical: Lexical, now: datetime, extra: Mapping[str, Json]) -> Scope:
        return Scope(self._values, lexical, now, extra)

    def write(self, record: StepRecord) -> None:
        self.memo[record.path] = self._dirty[record.path] = record

    def attempt_failed(self, attempt: AttemptRecord) -> None:
        self._attempts.append(attempt)

    def launch(self, leaf: frames.Leaf) -> None:
        self._flying[leaf.path] = leaf
        self._calls.append(StepCall(
            run_id=self._run.run_id,
            path=leaf.path,
            attempt=leaf.attempt_number,
            work=leaf.step.work,
            values=leaf.scope(),
            idempotency_key=idempotency_key(self._run.run_id, leaf.record),
            timeout=leaf.step.timeout,
            correction=leaf.record.correction,
            vars=self.definition.vars,
            secrets=self.definition.secrets,
        ))  # fmt: skip

    def wake(self, leaf: frames.Leaf, due_at: datetime) -> None:
        self._waiting[leaf.path] = leaf
        heapq.heappush(self._timers, (due_at, leaf.path))

    # What the root's frames tell

    def child_done(self, record: StepRecord | None) -> None:
        if self._plan is not None:
            self._undo_ended(self._plan.todo[0], None)
            return
        try:
            output = self.definition.output
            if output is not None:
                value = output.render(self.scope(Lexical.of(self.definition.steps), self.now, {}))
            else:
                value = record.output if record else None
        except ExpressionFailed as failure:
            self._fail(StepError("expression", f"output: {failure}"), None)
        else:
            self.record = moves.complete(self.record, value, self.now)

    def child_broke(self, error: StepError, policy: OnFailure | None) -> None:
        if self._plan is not None:
            self._undo_ended(self._plan.todo[0], error)
        elif self.stopping is not None:
            self.child_stopped()
        else:
            self._fail(error, policy)

    def child_returned(self, value: Json) -> None:
        if self._plan is not None:
            self._undo_ended(self._plan.todo[0], None)
        elif self.stopping is not None:
            self.child_stopped()
        else:
            self.record = moves.complete(self.record, value, self.now)

    def child_stopped(self) -> None:
        stopping = self.stopping
        assert stopping is not None, "a frame stopped in a run that was not asked to"
        if stopping.reason == "timeout":
            message = f"the run did not end within its timeout of {self.definition.timeout:g} s"
            step = next((record.path for record in broken(self.definition, self.memo)), None)
            self._fail(StepError("run_timeout", message, step=step), None)
        else:
            self._end_as_cancelled(compensate=stopping.compensate)

    # How it goes on

    @property
    def _goes_forward(self) -> bool:
        return self.record.status in (RunStatus.RUNNING, RunStatus.WAITING)

    def _enter_root(self) -> None:
        lexical = Lexical.of(self.definition.steps)
        root = frames.Sequence(self, self, self.definition.steps, lexical, replaying=self._replaying)
        self._replaying = False
        self.agenda.append(root.enter)

    def _cut_off(self, error: StepError) -> StepError:
        """Settle the step at which the run stands as in doubt, if it is; then the error is that step's."""
        lexical = Lexical.of(self.definition.steps)
        for step in self.definition.steps:
            path = lexical.prefix + step.name
            record = self.memo.get(path)
            if record is None or not record.status.settled:
                leaf = frames.Leaf(self, self, step, path, lexical, {}, maybe_in_flight=self._run.interrupted)
                return leaf.cut_off(error)
        return error

    def _fail(self, error: StepError, policy: OnFailure | None) -> None:
        match policy or self.definition.on_failure:
            case "pause":
                self.record = moves.pause(self.record, error, self.now)
            case "fail":
                self.record = moves.end(self.record, "failed", self.now, error=error)
            case "compensate":
                self.record = moves.compensate(self.record, "failed", error)
                self._next_undo()

    def _cancel(self, *, compensate: bool) -> None:
        match self.record.status:
            case RunStatus.PENDING:
                self.record = moves.end(self.record, "cancelled", self.now, error=None)
            case RunStatus.PAUSED:
                self._end_as_cancelled(compensate=compensate)
            case RunStatus.RUNNING | RunStatus.WAITING if self.record.stopping is None:
                self._stop(Stopping("cancel", tuple(self._flying), compensate))
            case _:
                pass

    def _stop(self, stopping: Stopping) -> None:
        """Start nothing more. What waits ends now, what is in flight when it ends; the last of them ends the run."""
        self.record = moves.stop(self.record, stopping)
        waiting, self._waiting = self._waiting, {}
        for leaf in waiting.values():
            self.agenda.append(leaf.stop)

    def _end_as_cancelled(self, *, compensate: bool) -> None:
        if compensate:
            self.record = moves.compensate(self.record, "cancelled", self.record.error)
            self._next_undo()
        else:
            self.record = moves.end(self.record, "cancelled", self.now, error=self.record.error)

    def _next_undo(self) -> None:
        """Undo the next step, or end the run."""
        self._plan = todo = plan(self.definition, self.memo)
        if todo.todo:
            self._undo(todo.todo[0])
        else:
            self._end_compensated(todo.impossible)

    def _undo(self, undo: Undo) -> None:
        record = self.memo[undo.path]
        if record.status is not StepStatus.COMPENSATING:
            self.write(record._replace(status=StepStatus.COMPENSATING))
        extra = {
            "error": error_view(self.record.error or CANCELLED),
            "idempotency_key": idempotency_key(self._run.run_id, record),
        }
        steps = undo.compensation.steps
        frame = frames.Sequence(self, self, steps, undo.inner, replaying=self._replaying, extra=extra)
        self._replaying = False
        self.agenda.append(frame.enter)

    def _undo_ended(self, undo: Undo, error: StepError | None) -> None:
        record = self.memo[undo.path]
        if error is None:
            self.write(record._replace(status=StepStatus.COMPENSATED))
            self.agenda.append(self._next_undo)
            return
        before = StepStatus.IN_DOUBT if record.error else StepStatus.COMPLETED
        self.write(record._replace(status=before))
        assert self._plan is not None, "a compensation ended outside of a plan"
        later = tuple((other.path, f"not tried: {undo.path} must be undone first") for other in self._plan.todo[1:])
        attempts = f" ({error.attempts} attempts)" if (error.attempts or 0) > 1 else ""
        self._end_compensated(((undo.path, error.message + attempts), *later, *self._plan.impossible))

    def _end_compensated(self, not_undone: tuple[tuple[str, str], ...]) -> None:
        assert self.record.ends_as is not None, "a run compensates towards nothing"
        undone = plan(self.definition, self.memo).undone
        self._plan = None
        error = self.record.error
        if error is None and not_undone:
            path, why = not_undone[0]
            error = StepError(NOT_UNDONE, f"the run was cancelled, and {path} could not be undone: {why}", step=path)
        self.record = moves.end(
            self.record,
            self.record.ends_as,
            self.now,
            error=error,
            undone=undone,
            not_undone=not_undone,
            compensation="incomplete" if not_undone else "done" if undone else "none",
        )

    def _resume(self, message: Message) -> None:
        """Open the failed step anew, as corrected, and enter again; the memo keeps what is completed."""
        before = self.record
        corrections = composed(before.corrections, message.body.get("input"))
        self._values.input = corrected(self._run.input, corrections)
        undoing = before.status is RunStatus.FAILED and before.compensation == "incomplete"
        forward = before.status is RunStatus.PAUSED or (
            before.status is RunStatus.FAILED and before.compensation == "none"
        )
        if undoing:
            for record in [r for r in self.memo.values() if SUFFIX in r.path and _stands_failed(r)]:
                self._reopen(record, message.body)
            self.record = replace(before, corrections=corrections)
            self.record = moves.compensate(self.record, before.ends_as or "failed", _cause(before.error))
            self._next_undo()
        elif forward:
            step = before.error.step if before.error else None
            for record in broken(self.definition, self.memo):
                self._reopen(record, message.body if record.path == step else {})
            self.record = moves.resume(before, self.definition, corrections, self.now)
            self._enter_root()

    def _reopen(self, failed: StepRecord, correction: Mapping[str, Json]) -> None:
        reopened = reopen(failed, correction, self.now)
        if reopened.status.settled:
            self.seq += 1
            reopened = reopened._replace(seq=self.seq)
        self.write(reopened)

    # What it answers

    def _rest(self) -> bool:
        """Nothing is in flight: say whether the run is to be released, and that it waits if it does for long."""
        if self.record.status is RunStatus.PAUSED or self.record.status.finished:
            return True
        due_at = self.wake_at
        if due_at is not None and due_at - self.now <= self._hold:
            return False
        self.record = moves.wait(self.record, due_at)
        return True

    def _turn(self, *, release: bool) -> Turn | None:
        if self.record.status is RunStatus.WAITING and not release:
            self.record = moves.go_on(self.record)
        changed = self.record if release or self.record is not self._recorded else None
        if not (self._dirty or self._attempts or self._consumed or changed):
            return None
        turn = Turn(
            self._run.run_id,
            tuple(self._dirty.values()),
            tuple(self._attempts),
            changed,
            tuple(self._consumed),
            release,
        )
        self._dirty, self._attempts, self._consumed, self._recorded = {}, [], [], self.record
        return turn


def idempotency_key(run_id: str, record: StepRecord) -> str:
    """The key that every attempt of a step carries; a corrected step is another request and gets another one."""
    return f"{run_id}:{record.path}" + (f":{record.corrected}" if record.corrected else "")


def _cause(error: StepError | None) -> StepError | None:
    """Why a run is undone; that an earlier try of undoing failed is no cause."""
    return None if error is not None and error.code == NOT_UNDONE else error


def _stands_failed(record: StepRecord) -> bool:
    return record.status in (StepStatus.FAILED, StepStatus.IN_DOUBT)
