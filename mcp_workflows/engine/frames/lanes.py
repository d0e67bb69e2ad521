"""Several lists of steps at once: ``parallel`` and ``for_each``.

A *lane* is one of the lists, a branch or an item. A lane that is done leaves a row with its output, so that its steps need
not be looked at again. The first lane that fails, or returns, stops the others; that is recorded before they are told.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from mcp_workflows.definition.expressions import ExpressionFailed
from mcp_workflows.definition.program import ForEachWork, Json, OnFailure, ParallelWork, Step
from mcp_workflows.engine.bounds import Room, TooLarge, bounded
from mcp_workflows.engine.frames.block import BlockFrame
from mcp_workflows.engine.frames.host import Break
from mcp_workflows.engine.frames.sequence import Sequence
from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.records import StepRecord, Stopping
from mcp_workflows.engine.scope import Lexical, error_view, names_of
from mcp_workflows.engine.states import StepStatus

MAX_ITEMS = 100_000
"""The longest list that ``for_each`` takes."""


class Lane:
    """One of the lists. ``path`` is that of its row."""

    __slots__ = ("block", "key", "path", "sequence")

    sequence: Sequence

    def __init__(self, block: LanesFrame, key: int | str, path: str) -> None:
        self.block = block
        self.key = key
        self.path = path

    @property
    def stopping(self) -> Stopping | None:
        return self.block.stopping

    def child_done(self, record: StepRecord | None) -> None:
        self.block.lane_done(self, record)

    def child_broke(self, failure: Break) -> None:
        self.block.lane_broke(self, failure)

    def child_returned(self, value: Json) -> None:
        self.block.stop_others("return", value=value)
        self.block.lane_ended()

    def child_stopped(self) -> None:
        self.block.lane_ended()


class LanesFrame(BlockFrame):
    """The lanes of one step. ``_open`` of them have begun and not ended."""

    __slots__ = ("_open", "_room", "_stopping")

    @property
    def stopping(self) -> Stopping | None:
        return self._stopping or self.parent.stopping

    def work(self) -> None:
        stopping = self.decided("stopping")
        self._open = 0
        self._room = Room(f"{self.step.kind} has gathered", self.largest)
        self._stopping = Stopping(stopping["reason"], tuple(stopping["in_flight"])) if stopping else None
        self.begin(replaying=self.replaying and self.opened)
        if self._open == 0:
            self._settle_lanes()

    # What the two kinds do

    def begin(self, *, replaying: bool) -> None:
        """Decide what the lanes are, or read it, and start those that may run now. Raises ``ExpressionFailed``."""
        raise NotImplementedError

    def keep(self, lane: Lane, record: StepRecord | None) -> None:
        """A lane is done. Raises ``ExpressionFailed``."""
        raise NotImplementedError

    def passes_over(self, lane: Lane, failure: Break) -> bool:
        """Whether a lane's failure is none of the step. Raises ``TooLarge``."""
        del lane, failure
        return False

    def start_next(self) -> None:
        """A lane has ended: another one may begin."""

    def result(self) -> Json:
        raise NotImplementedError

    def rows(self) -> Iterable[str]:
        """The paths of all lanes."""
        raise NotImplementedError

    # Lanes

    def start(self, lane: Lane, steps: tuple[Step, ...], lexical: Lexical, *, replaying: bool) -> None:
        self._open += 1
        lane.sequence = Sequence(self.host, lane, steps, lexical, replaying=replaying)
        self.host.agenda.append(lane.sequence.enter)

    def lane_done(self, lane: Lane, record: StepRecord | None) -> None:
        try:
            self.keep(lane, record)
        except ExpressionFailed as failure:
            error = StepError(failure.code, f"output of {lane.path}: {failure}").at(self.path, 0)
            self.lane_broke(lane, Break(error))
        else:
            lane.sequence.forget()
            self.lane_ended()

    def lane_broke(self, lane: Lane, failure: Break) -> None:
        if self.stopping is None:
            try:
                passed_over = not failure.ends_run and self.passes_over(lane, failure)
            except TooLarge as full:
                passed_over, failure = False, Break(StepError(full.code, str(full)).at(self.path, 0))
            if not passed_over:
                error = failure.error.to_json()
                self.stop_others("failure", error=error, policy=failure.policy, ends_run=failure.ends_run)
        self.lane_ended()

    def lane_ended(self) -> None:
        self._open -= 1
        if self.stopping is None:
            self.start_next()
        if self._open == 0:
            self._settle_lanes()

    def write_lane(self, lane: Lane, kind: str, output: Json, error: StepError | None = None) -> None:
        host = self.host
        host.seq += 1
        status = StepStatus.COMPLETED if error is None else StepStatus.FAILED
        host.write(StepRecord(lane.path, host.seq, kind, status, output=output, error=error, finished_at=host.now))

    def stop_others(self, reason: str, **why: Json) -> None:
        """Nothing more is started in this block; the first reason stands."""
        if self.stopping is not None:
            return
        in_flight = self.host.in_flight_in(self.path)
        stopping = {"reason": reason, "in_flight": list(in_flight), **why}
        self.write(status=StepStatus.RUNNING, decision=self.deciding(stopping=stopping))
        self._stopping = Stopping("return" if reason == "return" else "failure", in_flight)
        self.host.stop_in(self.path)

    def _settle_lanes(self) -> None:
        """No lane is open any more."""
        if self._stopping is not None:
            self._settle_stopped(self.decided("stopping"))
        elif self.parent.stopping is not None:
            self.child_stopped()
        else:
            try:
                self.give(self.result())
            except ExpressionFailed as failure:
                self.fail(StepError(failure.code, f"output: {failure}"))
            else:
                self.host.forget_rows(self.rows())

    def _settle_stopped(self, stopping: dict[str, Json]) -> None:
        if stopping["reason"] == "return":
            self.child_returned(stopping["value"])
        else:
            error = StepError.from_json(stopping["error"])
            policy = cast("OnFailure | None", stopping["policy"])
            self.fail(error, policy=policy, ends_run=stopping["ends_run"])


class ParallelFrame(LanesFrame):
    """All branches at once."""

    __slots__ = ("_outputs",)

    def begin(self, *, replaying: bool) -> None:
        branches = cast("ParallelWork", self.step.work).branches
        self._outputs: dict[str, Json] = {}
        if not self.opened:
            self.write(status=StepStatus.RUNNING)
        for name, steps in branches.items():
            path = f"{self.path}.{name}"
            record = self.host.memo.get(path)
            if record is not None and record.status.settled:
                self._outputs[name] = record.output
                self._room.note(record.output)
            else:
                self.start(Lane(self, name, path), steps, Lexical.of(steps, path, self.lexical), replaying=replaying)

    def keep(self, lane: Lane, record: StepRecord | None) -> None:
        output = record.output if record else None
        self._room.take(output)
        self._outputs[str(lane.key)] = output
        self.write_lane(lane, "branch", output)

    def result(self) -> Json:
        branches = cast("ParallelWork", self.step.work).branches
        return {name: self._outputs[name] for name in branches}

    def rows(self) -> Iterable[str]:
        return (f"{self.path}.{name}" for name in cast("ParallelWork", self.step.work).branches)


class ForEachFrame(LanesFrame):
    """The same steps for each item, so many at once, started in order."""

    __slots__ = ("_errors", "_items", "_names", "_next", "_outputs")

    @property
    def _loop(self) -> ForEachWork:
        return cast("ForEachWork", self.step.work)

    def begin(self, *, replaying: bool) -> None:
        self._names = names_of(self._loop.steps)
        if not self.opened:
            items = self._list()
            self.write(status=StepStatus.RUNNING, decision={"items": items})
        self._items: list[Json] = self.decided("items")
        self._outputs: list[Json] = [None] * len(self._items)
        self._errors: dict[int, Json] = {}
        self._next = 0
        while self._open < self._loop.concurrency and self._start_one(replaying=replaying):
            pass

    def start_next(self) -> None:
        self._start_one(replaying=False)

    def keep(self, lane: Lane, record: StepRecord | None) -> None:
        output = record.output if record else None
        if self._loop.output is not None:
            output = self._loop.output.render(self.host.scope(lane.sequence.lexical, self.host.now, {}))
            bounded(output, self.host.max_output_bytes, "it gives")
        self._room.take(output)
        self._outputs[cast("int", lane.key)] = output
        self.write_lane(lane, "item", output)

    def passes_over(self, lane: Lane, failure: Break) -> bool:
        if not self._loop.collect_errors:
            return False
        told = self._told(cast("int", lane.key), failure.error)
        self._room.take(told)
        self._errors[cast("int", lane.key)] = told
        self.write_lane(lane, "item", None, failure.error)
        lane.sequence.forget()
        return True

    def result(self) -> Json:
        if self._loop.collect_errors:
            errors = [self._errors[index] for index in sorted(self._errors)]
            self.record = self.record._replace(decision=self.deciding(errors=errors))
        return self._outputs

    def rows(self) -> Iterable[str]:
        return (f"{self.path}[{index}]" for index in range(len(self._items)))

    def _start_one(self, *, replaying: bool) -> bool:
        """Start the next item that is not done; false when there is none left."""
        memo = self.host.memo
        while self._next < len(self._items):
            index = self._next
            self._next += 1
            path = f"{self.path}[{index}]"
            record = memo.get(path)
            if record is None or not record.status.settled:
                values = {**self.lexical.values, self._loop.item_name: self._items[index], "index": index}
                lexical = Lexical(f"{path}.", self._names, self.lexical, values)
                self.start(Lane(self, index, path), self._loop.steps, lexical, replaying=replaying)
                return True
            self._outputs[index] = record.output
            self._room.note(record.output)
            if record.error is not None:
                self._errors[index] = self._told(index, record.error)
                self._room.note(self._errors[index])
        return False

    def _told(self, index: int, error: StepError) -> Json:
        return {"index": index, "item": self._items[index], **error_view(error)}

    def _list(self) -> list[Json]:
        items = self._loop.items.render(self.scope())
        if not isinstance(items, list):
            raise ExpressionFailed(f"items must give a list, and gives {_kind(items)}", "")
        found = cast("list[Json]", items)
        if len(found) > MAX_ITEMS:
            raise ExpressionFailed(
                f"items gives {len(found):,} elements; for_each takes {MAX_ITEMS:,} at most: split them", ""
            )
        bounded(found, self.largest, "items gives")
        return found


def _kind(value: Json) -> str:
    match value:
        case None:
            return "null"
        case dict():
            return "an object"
        case str():
            return "a text"
        case bool():
            return "a boolean"
        case _:
            return "a number"
