"""What the frames of a run work at: the records they read and write, the agenda, and what is asked of the world.

The machine decides about the run; the desk knows nothing of that. It holds what is open, and what was decided and is not
recorded yet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from mcp_workflows.definition.program import Definition, Json, Step
from mcp_workflows.engine import frames
from mcp_workflows.engine.corrections import corrected
from mcp_workflows.engine.draft import Draft, idempotency_key
from mcp_workflows.engine.frames.attempts import AttemptFrame
from mcp_workflows.engine.outcome import StepCall
from mcp_workflows.engine.paths import inside
from mcp_workflows.engine.records import AttemptRecord, Message, NewChild, Outgoing, Run, StepRecord
from mcp_workflows.engine.scope import Lexical, RunValues, Scope
from mcp_workflows.engine.waits import Waits, key_of


class Desk:
    """One run's. It is the ``frames.Host``."""

    def __init__(
        self, definition: Definition, run: Run, steps: Iterable[StepRecord], variables: Mapping[str, Json],
        max_output_bytes: int,
    ) -> None:  # fmt: skip
        self.definition = definition
        self.run = run
        self.memo: dict[str, StepRecord] = {step.path: step for step in steps}
        self.agenda: deque[Callable[[], None]] = deque()
        self.now = run.created_at
        self.seq: int = max((step.seq for step in self.memo.values()), default=run.record.seq)
        self.seq = max(self.seq, run.record.seq)
        self.max_output_bytes = max_output_bytes
        self.values = RunValues(run, corrected(run.input, run.record.corrections), variables, self.memo)
        self.flying: dict[str, tuple[AttemptFrame, StepCall]] = {}
        self.waits = Waits()
        self.draft = Draft(run.run_id)
        self.calls: list[StepCall] = []

    # What frames ask of their host

    def frame(
        self, parent: frames.Parent, step: Step, path: str, lexical: Lexical, *, replaying: bool
    ) -> frames.StepFrame:
        return frames.frame_of(self, parent, step, path, lexical, replaying=replaying)

    def scope(self, lexical: Lexical, now: datetime, extra: Mapping[str, Json]) -> Scope:
        return Scope(self.values, lexical, now, extra)

    def write(self, record: StepRecord) -> None:
        self.memo[record.path] = self.draft.steps[record.path] = record

    def forget(self, lexical: Lexical, steps: tuple[Step, ...]) -> None:
        for step in steps:
            self.memo.pop(lexical.prefix + step.name, None)

    def forget_rows(self, paths: Iterable[str]) -> None:
        for path in paths:
            self.memo.pop(path, None)

    def attempt_failed(self, attempt: AttemptRecord) -> None:
        self.draft.attempts.append(attempt)

    def launch(self, frame: AttemptFrame) -> None:
        call = StepCall(
            run_id=self.run.run_id,
            path=frame.path,
            attempt=frame.attempt_number,
            work=frame.step.work,
            values=frame.scope(),
            idempotency_key=idempotency_key(self.run.run_id, frame.record),
            timeout=frame.step.timeout,
            correction=frame.record.correction,
            secrets=self.definition.secrets,
            parked=frame.parked,
        )
        self.flying[frame.path] = (frame, call)
        self.calls.append(call)

    def wait(self, frame: frames.Waiter, due_at: datetime | None, key: frames.MailKey | None = None) -> None:
        message = self.waits.add(frame, due_at, key)
        if message is not None:
            self._hand(frame, message)

    def spawn(self, child: NewChild) -> None:
        self.draft.children.append(child)

    def send(self, message: Outgoing) -> None:
        self.draft.outgoing.append(message)

    def in_flight_in(self, path: str) -> tuple[str, ...]:
        return tuple(flying for flying in self.flying if inside(flying, path))

    def stop_in(self, path: str) -> None:
        self.agenda.extend(waiter.stop for waiter in self.waits.within(path))

    # What comes from the world

    def flying_as(self, call: StepCall) -> AttemptFrame | None:
        """Whose attempt this is; ``None`` of one that nobody waits for any more."""
        frame, flying = self.flying.get(call.path, (None, None))
        return frame if flying is call else None

    def deliver(self, message: Message) -> None:
        key = key_of(message)
        assert key is not None, f"no step takes a {message.kind}"
        waiter = self.waits.put(key, message)
        if waiter is not None:
            self._hand(waiter, message)

    def _hand(self, waiter: frames.Waiter, message: Message) -> None:
        """A message is consumed in the turn that records what comes of it."""

        def read() -> None:
            self.draft.consumed.append(message.message_id)
            waiter.mail(message)

        self.agenda.append(read)
