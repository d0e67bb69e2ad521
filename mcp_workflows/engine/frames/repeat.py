"""``repeat``: the same steps again and again, with a state that goes from one iteration to the next."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

from mcp_workflows.definition.expressions import ExpressionFailed
from mcp_workflows.definition.program import Json, RepeatWork
from mcp_workflows.engine.bounds import Room, bounded
from mcp_workflows.engine.frames.block import BlockFrame
from mcp_workflows.engine.frames.sequence import Sequence
from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.records import StepRecord
from mcp_workflows.engine.scope import Lexical, Scope, has_output, names_of
from mcp_workflows.engine.states import StepStatus

EXHAUSTED = "max_iterations"
"""The code of a loop that did not come to its end within its iterations."""
MAX_ITERATIONS = 1_000_000
"""For a loop that sets itself no bound."""


class RepeatFrame(BlockFrame):
    """One row says where the loop is, so that going on costs the same at any iteration."""

    __slots__ = ("_collected", "_keeps", "_names", "_room", "_sequence")

    _sequence: Sequence

    @property
    def _loop(self) -> RepeatWork:
        return cast("RepeatWork", self.step.work)

    def work(self) -> None:
        loop = self._loop
        self._keeps = loop.keeps_iterations
        self._names = names_of(loop.steps)
        self._collected: list[Json] = []
        self._room = Room("collect has gathered", self.largest)
        replaying = self.replaying and self.opened
        if not self.opened:
            state = self._bounded(loop.state.render(self.scope()), "state is") if loop.state is not None else None
            self.write(status=StepStatus.RUNNING, decision={"iteration": 0, "state": state})
        elif loop.collect is not None:
            memo = self.host.memo
            kept = [f"{self.path}[{i}]" for i in range(self.decided("iteration"))]
            self._collected = [memo[path].output for path in kept]
            self.host.forget_rows(kept)
            self._room.note(self._collected)
        if self.record.status is StepStatus.WAITING and self.parent.stopping is None:
            self.host.wait(self, self.record.due_at)
        else:
            self._iterate(replaying=replaying)

    def due(self) -> None:
        if self.parent.stopping is not None:
            self.stop()
            return
        self.write(status=StepStatus.RUNNING, due_at=None)
        self._iterate()

    def child_done(self, record: StepRecord | None) -> None:
        try:
            self._next(record)
        except ExpressionFailed as failure:
            self.fail(StepError(failure.code, f"repeat: {failure}"))

    def _iterate(self, *, replaying: bool = False) -> None:
        iteration = self.decided("iteration")
        values = {**self.lexical.values, "index": iteration, "state": self.decided("state")}
        lexical = Lexical(f"{self.path}[{iteration}].", self._names, self.lexical, values)
        self._sequence = self.list_of(self._loop.steps, lexical, replaying=replaying)
        self.host.agenda.append(self._sequence.enter)

    def _next(self, record: StepRecord | None) -> None:
        loop = self._loop
        iteration = self.decided("iteration")
        before = self.decided("state")
        state = before if loop.next is None else self._bounded(loop.next.render(self._inside(before)), "next gives")
        after = self._inside(state)
        element = None
        if loop.collect is not None:
            element = self._bounded(loop.collect.render(after), "collect gives")
            self._room.take(element)
        ends = loop.until is not None and loop.until.evaluate_bool(after)
        limit = loop.max_iterations or MAX_ITERATIONS
        if ends or (iteration + 1 >= limit and loop.until is None):
            self._give(record, state, element)
        elif iteration + 1 >= limit:
            self.fail(StepError(EXHAUSTED, f"until did not hold after {limit} iterations"))
        else:
            self._keep(element)
            self._sequence.forget()
            self._go_on(iteration + 1, state)

    def _go_on(self, iteration: int, state: Json) -> None:
        decision = {"iteration": iteration, "state": state}
        every = self._loop.every
        if every is None:
            self.write(status=StepStatus.RUNNING, decision=decision)
            self._iterate()
            return
        due_at = self.host.now + timedelta(seconds=every)
        self.write(status=StepStatus.WAITING, due_at=due_at, decision=decision)
        self.host.wait(self, due_at)

    def _give(self, record: StepRecord | None, state: Json, element: Json) -> None:
        """The last iteration is kept when it is known what the loop gives: until then it may be gone through again."""
        loop, decision = self._loop, self.record.decision
        if loop.collect is not None:
            output = self.output([*self._collected, element])
        elif loop.state is not None:
            output = self.output(state)
        elif record is None or has_output(record):
            output = self.output(record.output if record else None)
        else:
            output, decision = None, self.deciding(empty=True)
        self._keep(element)
        self.complete(output, decision=decision)
        self._sequence.forget()

    def _keep(self, element: Json) -> None:
        """The iteration is over."""
        if self._loop.collect is not None:
            self._collected.append(element)
        if not self._keeps:
            return
        host, iteration = self.host, self.decided("iteration")
        host.seq += 1
        decision = {"iteration": iteration, "state": self.decided("state")}
        path = f"{self.path}[{iteration}]"
        host.write(StepRecord(
            path, host.seq, "iteration", StepStatus.COMPLETED, output=element, decision=decision, finished_at=host.now,
        ))  # fmt: skip
        host.forget_rows([path])

    def _bounded(self, value: Json, what: str) -> Json:
        return bounded(value, self.host.max_output_bytes, what)

    def _inside(self, state: Json) -> Scope:
        return self.host.scope(self._sequence.lexical, self.host.now, {"state": state})
