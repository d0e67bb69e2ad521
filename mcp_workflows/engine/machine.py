"""The machine that decides what a run does next.

It is pure: no clock, no I/O, no randomness, no threads. It is given a definition, a run and the records of its steps, then
told what happened (an attempt ended, an instant has come, a message arrived), and answers from ``pump`` with what to record
and, once that is recorded, which attempts to make. Rebuilding it from the records at any moment gives the same machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from mcp_workflows.definition.expressions import ExpressionFailed
from mcp_workflows.definition.program import Definition, Json, OnFailure
from mcp_workflows.engine import frames, moves
from mcp_workflows.engine.bounds import MAX_OUTPUT_BYTES, TIMES_FOR_BLOCKS, bounded
from mcp_workflows.engine.corrections import composed, corrected, may_be_reopened, reopen
from mcp_workflows.engine.desk import Desk
from mcp_workflows.engine.frames.attempts import AttemptFrame
from mcp_workflows.engine.outcome import Outcome, StepCall, StepError
from mcp_workflows.engine.places import Place, broken, frontier
from mcp_workflows.engine.records import (
    Message,
    MessageKind,
    NotUndone,
    Outgoing,
    Run,
    RunRecord,
    StepRecord,
    Stopping,
    Turn,
)
from mcp_workflows.engine.resuming import first_step, is_meant, places_to_reopen, undoing_to_reopen
from mcp_workflows.engine.scope import Lexical
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.engine.undo_plan import plan
from mcp_workflows.engine.undoing import Undoing
from mcp_workflows.engine.waits import Waiting

HOLD = timedelta(seconds=5)
"""A run that waits longer than this is released: it costs a row then, and no memory."""

_FORWARD = (RunStatus.RUNNING, RunStatus.WAITING)

NOT_UNDONE = "not_undone"
"""The code of a run that was cancelled and could not be undone."""


class Decisions(NamedTuple):
    """What ``pump`` answers. ``attempts`` may be made only after ``turn`` is committed; ``more``: pump again after that.

    ``rebuild``: undoing begins, or the run was resumed. Make a new machine of the records (``places`` says which) and
    ``begin`` it: a live machine has forgotten what it folded.
    """

    turn: Turn | None
    attempts: Sequence[StepCall]
    more: bool
    rebuild: bool = False


class Machine(Desk):
    """One run. Every public method takes ``now``, which must not go backwards between calls.

    ``steps``: of a run that goes forward those in ``places.lists_wanted``, of one that is undone ``places.lists_to_undo``; more
    do no harm.
    """

    def __init__(
        self, definition: Definition, run: Run, steps: Iterable[StepRecord], *,
        variables: Mapping[str, Json], hold: timedelta = HOLD, max_output_bytes: int = MAX_OUTPUT_BYTES,
    ) -> None:  # fmt: skip
        super().__init__(definition, run, steps, variables, max_output_bytes)
        self.record = run.record
        self._hold = hold
        self._replaying = run.interrupted
        self._recorded = run.record
        self._rebuild = False

    def rebuilt(self, run: Run, steps: Iterable[StepRecord]) -> Machine:
        """A machine of the same definition from records read anew, with the messages that nobody has taken yet."""
        machine = Machine(
            self.definition,
            run,
            steps,
            variables=self.values.vars,
            hold=self._hold,
            max_output_bytes=self.max_output_bytes,
        )
        machine.waits.take_over(self.waits)
        return machine

    # What happened

    def begin(self, now: datetime) -> None:
        """Enter the run where its records say that it stands."""
        self.now = now
        if self.record.status is RunStatus.PENDING:
            self.record = moves.begin(self.record, self.definition, now)
        if self.record.status in (RunStatus.RUNNING, RunStatus.WAITING):
            self._enter_root()
        elif self.record.status is RunStatus.COMPENSATING:
            undoing = Undoing(
                self, self.definition, self.record.error, self._end_compensated, replaying=self._replaying
            )
            self.agenda.append(undoing.enter)

    def attempt_ended(self, call: StepCall, outcome: Outcome, started_at: datetime, now: datetime) -> None:
        """An attempt ended. One that nobody waits for any more changes nothing."""
        frame = self.flying_as(call)
        if frame is None:
            return
        self.now = now
        del self.flying[call.path]
        self.agenda.append(lambda: frame.ended(outcome, started_at))

    def attempt_lasts(self, call: StepCall) -> None:
        """An attempt takes long enough to be shown to others: note that it runs."""
        frame = self.flying_as(call)
        if frame is not None:
            frame.lasts()

    def attempt_withheld(self, call: StepCall) -> None:
        """An attempt was not made, for this node is leaving. The run is not to be released until others can go on."""
        frame = self.flying_as(call)
        if frame is not None:
            self.agenda.append(frame.withheld)

    def receive(self, message: Message, now: datetime) -> None:
        """Take a message from the inbox; one that no longer fits the run's state is consumed without effect."""
        self.now = now
        match message.kind:
            case "cancel":
                self.draft.consumed.append(message.message_id)
                self._cancel(compensate=bool(message.body.get("compensate", True)))
            case "resume":
                self.draft.consumed.append(message.message_id)
                self._resume(message)
            case "undo":
                self.draft.consumed.append(message.message_id)
                self._undo_as_child()
            case _:
                self.deliver(message)

    def advance(self, now: datetime) -> None:
        """Let everything happen that was due, in due order; but not what is stopped by something that happens before it."""
        self.now = now
        overdue = self.waits.overdue(now)
        deadline = self.record.timeout_at
        if deadline is not None and deadline <= now and self._goes_forward and not self.record.stopping:
            self.agenda += [each.waiter.due for each in overdue if self.waits.release(each)]
            self._stop(Stopping("timeout", tuple(self.flying)))
        else:
            self.agenda += [partial(self._come_due, each) for each in overdue]

    def set_aside(self, error: StepError, now: datetime, consumed: Iterable[int] = ()) -> None:
        """Of a machine that was just rebuilt, before anything happened: no node can go on with it.

        It is paused, or its undoing ends incomplete, for a person to look at. Steps that may have been in flight are in
        doubt. ``consumed``: messages that were taken in without a decision that could be recorded.
        """
        self.now = now
        self.agenda.clear()
        self.draft.consumed += consumed
        if self.record.status is RunStatus.PENDING:
            self.record = moves.begin(self.record, self.definition, now)
        if self.record.status is RunStatus.COMPENSATING:
            left = plan(self.definition, self.memo)
            self._end_compensated([*(NotUndone(undo.path, error.message) for undo in left.todo), *left.impossible])
        elif self._goes_forward:
            self.record = moves.pause(self.record, self._cut_off(error), now)

    def pump(self, now: datetime, budget: int = 256) -> Decisions:
        """Decide until nothing can be decided or ``budget`` records are made."""
        self.now = now
        while self.agenda and len(self.draft.steps) < budget and not self._rebuild:
            self.agenda.popleft()()
        more = bool(self.agenda) and not self._rebuild
        if not more and not self._rebuild:
            self._sort_mail()
        idle = not more and not self.flying and not self.calls and not self._rebuild
        self._let_time_pass(idle=idle)
        turn = self._turn(release=idle and self._rest())
        calls, self.calls = self.calls, []
        return Decisions(turn, calls, more, self._rebuild)

    # How it stands

    @property
    def wake_at(self) -> datetime | None:
        """The earliest instant at which ``advance`` has something to do."""
        due_at, timeout_at = self.waits.next_due, self.record.timeout_at
        if timeout_at is None or self.record.stopping or not self._goes_forward:
            return due_at
        return timeout_at if due_at is None else min(due_at, timeout_at)

    @property
    def under_way(self) -> tuple[str, ...]:
        """Paths of the steps in flight or waiting, for people."""
        return (*self.flying, *self.waits.paths)

    @property
    def stopping(self) -> Stopping | None:
        stopping = self.record.stopping
        return stopping if stopping is not None and self._goes_forward else None

    # What the root's frames tell

    def child_done(self, record: StepRecord | None) -> None:
        try:
            output = self.definition.output
            if output is not None:
                value = output.render(self.scope(Lexical.of(self.definition.steps), self.now, {}))
                bounded(value, self.max_output_bytes * TIMES_FOR_BLOCKS, "it gives")
            else:
                value = record.output if record else None
        except ExpressionFailed as failure:
            self._fail(StepError(failure.code, f"output: {failure}"), None)
        else:
            self._end(moves.complete(self.record, value, self.now))

    def child_broke(self, failure: frames.Break) -> None:
        if self.stopping is not None:
            self.child_stopped()
        else:
            self._fail(failure.error, failure.policy)

    def child_returned(self, value: Json) -> None:
        if self.stopping is not None:
            self.child_stopped()
        else:
            self._end(moves.complete(self.record, value, self.now))

    def child_stopped(self) -> None:
        stopping = self.stopping
        assert stopping is not None, "a frame stopped in a run that was not asked to"
        if stopping.reason == "timeout":
            message = f"the run did not end within its timeout of {self.definition.timeout:g} s"
            step = first_step(broken(self.definition.steps, Lexical.of(self.definition.steps), self.memo))
            self._fail(StepError("run_timeout", message, step=step), None)
        else:
            self._end_as_cancelled(compensate=stopping.compensate)

    # How it goes on

    @property
    def _goes_forward(self) -> bool:
        return self.record.status in _FORWARD

    def _enter_root(self) -> None:
        lexical = Lexical.of(self.definition.steps)
        root = frames.Sequence(self, self, self.definition.steps, lexical, replaying=self._replaying)
        self._replaying = False
        self.agenda.append(root.enter)

    def _cut_off(self, error: StepError) -> StepError:
        """Settle the steps at which the run stands as in doubt, if they are; then the error is that of the first."""
        first = error
        for place in list(frontier(self.definition, self.memo)):
            frame = self.frame(self, place.step, place.path, place.lexical, replaying=self.run.interrupted)
            if isinstance(frame, AttemptFrame):
                told = frame.cut_off(error)
                first = told if first is error else first
        return first

    def _fail(self, error: StepError, policy: OnFailure | None) -> None:
        match policy or self.definition.on_failure:
            case "pause":
                self.record = moves.pause(self.record, error, self.now)
            case "fail":
                self._end(moves.end(self.record, "failed", self.now, error=error))
            case "compensate":
                self._compensate(moves.compensate(self.record, "failed", error))

    def _come_due(self, waiting: Waiting) -> None:
        if self.waits.release(waiting):
            waiting.waiter.due()

    def _cancel(self, *, compensate: bool) -> None:
        match self.record.status:
            case RunStatus.PENDING:
                self._end(moves.end(self.record, "cancelled", self.now, error=None))
            case RunStatus.PAUSED if any(not step.status.settled for step in self.memo.values()):
                self.record = moves.stop(self.record, Stopping("cancel", (), compensate))  # it was set aside
                self._enter_root()
            case RunStatus.PAUSED:
                self._end_as_cancelled(compensate=compensate)
            case RunStatus.RUNNING | RunStatus.WAITING if self.record.stopping is None:
                self._stop(Stopping("cancel", tuple(self.flying), compensate))
            case _:
                pass

    def _stop(self, stopping: Stopping) -> None:
        """Start nothing more. What waits ends now, what is in flight when it ends; the last of them ends the run."""
        self.record = moves.stop(self.record, stopping)
        self.stop_in("")

    def _end_as_cancelled(self, *, compensate: bool) -> None:
        if compensate:
            self._compensate(moves.compensate(self.record, "cancelled", self.record.error))
        else:
            self._end(moves.end(self.record, "cancelled", self.now, error=self.record.error))

    def _end(self, record: RunRecord) -> None:
        """The run has ended; a parent that waits for it is told."""
        self.record = record
        parent = self.run.parent
        if parent is None:
            return
        body = {
            "path": parent.path,
            "generation": parent.generation,
            "run_id": self.run.run_id,
            "status": str(record.status),
            "output": record.output,
            "error": record.error.to_json() if record.error else None,
            "compensation": record.compensation,
        }
        self.send(Outgoing(parent.run_id, "child", body, f"child:{self.run.run_id}:{record.status}:{self.seq}"))

    # How it is undone

    def _compensate(self, record: RunRecord) -> None:
        self.record = record
        self._rebuild = True

    def _undo_as_child(self) -> None:
        """The parent, for which this child had completed, is undone."""
        record = self.record
        self.seq += 1  # to be asked is news, and so is the answer, if it is the same as before
        if record.status is RunStatus.COMPLETED:
            self._compensate(moves.compensate(record, "compensated", None))
        elif record.status is RunStatus.FAILED and record.ends_as == "compensated":
            self._undo_again({}, None)
        elif record.status.finished:
            self._end(record)

    def _end_compensated(self, not_undone: Sequence[NotUndone]) -> None:
        assert self.record.ends_as is not None, "a run compensates towards nothing"
        undone = plan(self.definition, self.memo).undone
        error = self.record.error
        if error is None and not_undone:
            first = not_undone[0]
            error = StepError(NOT_UNDONE, f"{first.path} could not be undone: {first.why}", step=first.path)
        self._end(moves.end(
            self.record,
            self.record.ends_as,
            self.now,
            error=error,
            undone=undone,
            not_undone=tuple(not_undone),
            compensation="incomplete" if not_undone else "done" if undone else "none",
        ))  # fmt: skip

    # How it is resumed

    def _resume(self, message: Message) -> None:
        """Open the failed step anew, as corrected, and enter again; the memo keeps what is completed.

        A message that was meant for another failure, which somebody else has corrected since, changes nothing.
        """
        before = self.record
        undoing = before.status is RunStatus.FAILED and before.compensation == "incomplete"
        forward = before.status is RunStatus.PAUSED or (
            before.status is RunStatus.FAILED and before.compensation == "none"
        )
        failed = before.error.step if before.error else None
        if undoing:
            failed = first_step(undoing_to_reopen(self.definition, self.memo))
        if not (undoing or forward) or not is_meant(message.body, self.memo, failed, self.seq):
            return
        corrections = composed(before.corrections, message.body.get("input"))
        self.values.input = corrected(self.run.input, corrections)
        if undoing:
            self.record = before._replace(corrections=corrections)
            self._undo_again(message.body, failed)
        else:
            self.seq += 1  # a failure after this is another one
            since = {"children": message.body.get("children")}
            for place in places_to_reopen(self.definition, self.memo, failed, message.body):
                self._reopen(place, message.body if place.path == failed else since)
            self.record = moves.resume(before, self.definition, corrections, self.now)
            self._rebuild = True

    def _undo_again(self, body: Mapping[str, Json], failed: str | None) -> None:
        """Go on undoing where it stopped; ``body`` corrects the step that failed."""
        self.seq += 1  # what children are told is news
        for place in undoing_to_reopen(self.definition, self.memo):
            self._reopen(place, body if place.path == failed else {})
        before = self.record
        self._compensate(moves.compensate(before, before.ends_as or "failed", _cause(before.error)))

    def _reopen(self, place: Place, correction: Mapping[str, Json]) -> None:
        failed = self.memo[place.path]
        if not may_be_reopened(place.step, failed, correction):
            return
        reopened = reopen(place.step, failed, correction, self.now)
        if reopened.status.settled:
            self.seq += 1
            reopened = reopened._replace(seq=self.seq)
        self.write(reopened)

    # What it answers

    def _sort_mail(self) -> None:
        """Of the messages that nobody waits for now, those are kept that somebody may wait for later."""
        for key, message in self.waits.unsorted():
            if self._may_be_wanted(message.kind, key[1]):
                self.draft.kept.append(message.message_id)
            else:
                self.waits.drop(key, message)
                self.draft.consumed.append(message.message_id)

    def _may_be_wanted(self, kind: MessageKind, path: str) -> bool:
        """A signal in any run that goes on, a call while its step is under way, anything for a step that was set aside."""
        if kind == "signal":
            return not self.record.status.finished
        if self.record.status is RunStatus.PAUSED:
            return path in self.memo and not self.memo[path].status.settled
        return kind == "callback" and (path in self.flying or self.waits.holds(path))

    def _rest(self) -> bool:
        """Nothing is in flight: say whether the run is to be released, and that it waits if it does for long."""
        if self.record.status is RunStatus.PAUSED or self.record.status.finished:
            return True
        due_at = self.wake_at
        if due_at is not None and due_at - self.now <= self._hold:
            return False
        self.record = moves.wait(self.record, due_at)
        return True

    def _let_time_pass(self, *, idle: bool) -> None:
        """The run's time passes, but for when it waits for people and signals alone."""
        if self.record.stopping or not self._goes_forward:
            return
        if idle and self.waits.only_asking:
            self.record = moves.suspend(self.record, self.now)
        else:
            self.record = moves.unsuspend(self.record, self.now)

    def _turn(self, *, release: bool) -> Turn | None:
        if self.record.status is RunStatus.WAITING and not release:
            self.record = moves.go_on(self.record)
        if self._goes_forward and self.record.waiting_for != self.waits.asking:
            self.record = self.record._replace(waiting_for=self.waits.asking)
        changed = None
        if release or self.record is not self._recorded:
            changed = self.record = self.record._replace(seq=self.seq)
        self._recorded = self.record
        return self.draft.turn(changed, release=release)


def _cause(error: StepError | None) -> StepError | None:
    """Why a run is undone; that an earlier try of undoing failed is no cause."""
    return None if error is not None and error.code == NOT_UNDONE else error
