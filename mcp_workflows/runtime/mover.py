"""Moving one run: ask the machine, record what it decides, make the attempts it wants, and tell it how they ended.

Whoever brings news of a run decides what it means, unless somebody is deciding already: then the news is only left there.
So the task that made an attempt goes on to record it and to make the next one, and a run whose steps follow one another
is moved by one task that is woken twice a step, by the answer and by the commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import datetime
from typing import Protocol

from mcp_workflows.clock import Clock
from mcp_workflows.definition.program import WorkflowWork
from mcp_workflows.engine.machine import Decisions, Machine
from mcp_workflows.engine.outcome import Failed, Outcome, StepCall, StepError
from mcp_workflows.engine.records import AT_ONCE, Message, Run, StepRecord, Turn
from mcp_workflows.errors import NodeLost, RecordRefused, StoreUnavailable
from mcp_workflows.runtime.children import Children
from mcp_workflows.runtime.loading import load_records
from mcp_workflows.steps.gate import Gate
from mcp_workflows.store import Store

logger = logging.getLogger(__name__)

SHOWN_AFTER = 1.0
"""Seconds after which an attempt in flight is noted in the database, for those who look from elsewhere."""
STORE_PAUSE = 1.0
"""Seconds between tries to record while the database cannot be written."""


class Doer(Protocol):
    """What makes attempts; ``steps.Steps`` does."""

    async def attempt(self, call: StepCall) -> Outcome: ...


class Mover:
    """Moves one run that this node owns, from the claim to the release. ``run`` is as last recorded."""

    def __init__(
        self, run: Run, machine: Machine, *, store: Store, doer: Doer, children: Children, places: Gate,
        clock: Clock, recorded: Callable[[Run], None],
    ) -> None:  # fmt: skip
        self.run = run
        self.machine = machine
        self._store = store
        self._doer = doer
        self._children = children
        self._places = places
        self._clock = clock
        self._recorded = recorded
        self._events: deque[Callable[[datetime], None]] = deque()
        self._deciding = True  # ``move`` begins with it
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_flight = 0
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_for: datetime | None = None
        self._last_message = 0
        self._taken: list[int] = []
        self._began = False
        self.halted = False

    def deliver(self, messages: Iterable[Message]) -> None:
        """Hand over messages of the inbox, oldest first. Those that were handed over before are passed over."""
        for message in messages:
            if message.message_id > self._last_message:
                self._last_message = message.message_id
                self._tell(lambda now, message=message: self._receive(message, now))

    def halt(self) -> None:
        """Start no more attempts: the node is leaving. Those in flight may end and are recorded."""
        self.halted = True
        self._stir()

    async def move(self, decided: Decisions | None = None) -> None:
        """Until the run is released, or lost to another node. Never raises but when cancelled.

        ``decided``: the machine has begun already, and this is what it wants first.
        """
        try:
            if decided is None:
                self.machine.begin(self._clock())
            call = await self._decide(decided)
            if call is not None:
                self._start(call)
            await self._over
        except NodeLost as lost:
            logger.warning("run %s is no longer this node's: %s", self.run.run_id, lost)
        except RecordRefused as refused:
            await self._set_aside("record_refused", f"the database refuses what the run has to record: {refused}")
        except Exception:  # a defect in deciding must not take the other runs of this node with it
            logger.exception("run %s cannot be moved", self.run.run_id)
            await self._set_aside("internal", "the server cannot go on with this run: see its log")
        finally:
            if not self._over.cancel() and not self._over.cancelled():
                self._over.exception()  # it was looked at, in whatever way this ends
            self._wake_at(None)
            for task in self._tasks:
                task.cancel()

    # Deciding

    async def _decide(self, decided: Decisions | None = None) -> StepCall | None:
        """Let everything take effect that has happened. Answers with an attempt to make; others are under way by then."""
        while True:
            if decided is None:
                now = self._clock()
                self._take_in(now)
                decisions = self.machine.pump(now)
            else:
                decisions, decided = decided, None
            if decisions.turn is not None:
                await self._record(decisions.turn)
                if decisions.turn.release:
                    return self._end()
            if decisions.rebuild:
                await self._rebuild()
                continue
            calls = decisions.attempts
            if self.halted:
                self._withhold(calls)
                calls = ()
                if not self._events and not self._in_flight:
                    return await self._give_up()
            if decisions.more or self._events:
                for call in calls:
                    self._start(call)
                continue
            for call in calls[1:]:
                self._start(call)
            self._wake_at(self.machine.wake_at)
            self._deciding = False
            return calls[0] if calls else None

    def _tell(self, event: Callable[[datetime], None]) -> None:
        self._events.append(event)
        self._stir()

    def _stir(self) -> None:
        """Have it decided what has happened, unless somebody is deciding."""
        if not self._deciding and not self._over.done():
            self._deciding = True
            self._spawn(self._go_on(None))

    def _withhold(self, calls: Iterable[StepCall]) -> None:
        for call in calls:
            self._events.append(lambda _now, call=call: self.machine.attempt_withheld(call))

    def _start(self, call: StepCall) -> None:
        self._in_flight += 1
        self._spawn(self._go_on(call))

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _go_on(self, call: StepCall | None) -> None:
        """Make the attempt and decide what follows, as long as there is one after the other to be made."""
        try:
            while True:
                if call is not None:
                    self._events.append(await self._attempt(call))
                    self._in_flight -= 1
                    if self._deciding:
                        return
                    self._deciding = True
                call = await self._decide()
                if call is None:
                    return
                self._in_flight += 1
        except Exception as error:  # noqa: BLE001  # whatever it is, ``move`` deals with it
            if not self._over.done():
                self._over.set_exception(error)

    def _end(self) -> None:
        if not self._over.done():
            self._over.set_result(None)

    def _wake_at(self, due_at: datetime | None) -> None:
        """Decide again at ``due_at``, whatever happens until then."""
        if due_at == self._timer_for:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._timer_for = due_at
        if due_at is not None:
            delay = max((due_at - self._clock()).total_seconds(), 0.0)
            self._timer = asyncio.get_running_loop().call_later(delay, self._due)

    def _due(self) -> None:
        self._timer = self._timer_for = None
        self._stir()

    async def _rebuild(self) -> None:
        """Undoing begins, from what is recorded. Nothing is in flight then."""
        self.machine = self.machine.rebuilt(self.run._replace(interrupted=False), await self._steps())
        self.machine.begin(self._clock())

    def _take_in(self, now: datetime) -> None:
        while self._events:  # messages first: one that came before a timer was due counts before it
            self._events.popleft()(now)
        self.machine.advance(now)

    def _receive(self, message: Message, now: datetime) -> None:
        self._taken.append(message.message_id)
        self.machine.receive(message, now)

    async def _give_up(self) -> None:
        """Let the run go cleanly, for any node to go on at once."""
        given_up = self.machine.record._replace(wake_at=AT_ONCE)
        await self._record(Turn(self.run.run_id, run=given_up, release=True))
        self._end()

    async def _record(self, turn: Turn) -> None:
        while True:
            try:
                await self._store.record(turn)
                break
            except StoreUnavailable as unwell:
                logger.debug("run %s waits for the database: %s", self.run.run_id, unwell)
                await asyncio.sleep(STORE_PAUSE)
        if turn.run is not None:
            self.run = self.run._replace(record=turn.run)
        self._taken.clear()
        self._recorded(self.run)

    async def _set_aside(self, code: str, message: str) -> None:
        """Pause the run where it was last recorded. What was in flight, or could not be recorded, may have taken place."""
        run = self.run._replace(interrupted=self.run.interrupted or self._began)
        try:
            error, steps = StepError(code, message), await self._steps()
            try:
                await self._record_aside(run, steps, error, self._taken)
            except RecordRefused as refused:
                if not self._taken:
                    raise
                logger.warning("run %s is set aside without what it was told last: %s", run.run_id, refused)
                await self._record_aside(run, steps, error, ())
        except NodeLost as lost:
            logger.warning("run %s is no longer this node's: %s", self.run.run_id, lost)
        except Exception:  # nothing is left to try; the run stays this node's until it ends
            logger.exception("run %s could not be set aside", self.run.run_id)

    async def _record_aside(
        self, run: Run, steps: Sequence[StepRecord], error: StepError, taken: Sequence[int]
    ) -> None:
        """``taken``: messages that may be what is refused, and are not to be taken again."""
        self.machine = self.machine.rebuilt(run, steps)
        self.machine.set_aside(error, self._clock(), taken)
        turn = self.machine.pump(self._clock()).turn
        if turn is not None:
            await self._record(turn)

    async def _steps(self) -> list[StepRecord]:
        while True:
            try:
                steps = await load_records(self._store, self.run, self.machine.definition)
                await self._store.still_ours()
            except StoreUnavailable as unwell:
                logger.debug("run %s waits for the database: %s", self.run.run_id, unwell)
                await asyncio.sleep(STORE_PAUSE)
            else:
                return steps

    # Attempts

    async def _attempt(self, call: StepCall) -> Callable[[datetime], None]:
        """Answers with what happened."""
        if not self._places.enter(None):
            await self._places.wait(None)
        try:
            if self._store.stale:
                await self._renew()
            if self.halted:
                return lambda _now: self.machine.attempt_withheld(call)
            self._began = True
            started_at = self._clock()
            outcome = await self._outcome(call)
        finally:
            self._places.leave(None)
        return lambda now: self.machine.attempt_ended(call, outcome, started_at, now)

    async def _outcome(self, call: StepCall) -> Outcome:
        shown = asyncio.get_running_loop().call_later(SHOWN_AFTER, self._lasts, call)
        try:
            return await (self._child(call) if isinstance(call.work, WorkflowWork) else self._doer.attempt(call))
        except Exception:  # a defect of the doer: without an outcome the run would wait for ever
            logger.exception("an attempt of %s in run %s failed unexpectedly", call.path, call.run_id)
            return Failed(StepError("internal", "the server failed in this attempt: see its log", in_doubt=True))
        finally:
            shown.cancel()

    def _lasts(self, call: StepCall) -> None:
        self._tell(lambda _now: self.machine.attempt_lasts(call))

    async def _child(self, call: StepCall) -> Outcome:
        while True:
            try:
                return await self._children.attempt(self.run, call)
            except StoreUnavailable as unwell:
                logger.debug("run %s waits for the database: %s", self.run.run_id, unwell)
                await asyncio.sleep(STORE_PAUSE)

    async def _renew(self) -> None:
        """This process stood still for a while. Should the node be lost, its own loop finds out and ends this mover."""
        while self._store.stale:
            try:
                await self._store.beat()
            except (StoreUnavailable, NodeLost) as unwell:
                logger.debug("run %s waits before its next attempt: %s", self.run.run_id, unwell)
                await asyncio.sleep(STORE_PAUSE)
