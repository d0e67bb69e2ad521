"""Where functions run: off the event loop that moves runs, so that a function that blocks holds up only its own kind.

Sync functions run in a bounded number of threads. A thread cannot be ended from outside: when an attempt's time is up its
thread keeps its place until the function returns, and is called *stuck* until then. Async functions run in one event loop
of their own, in one thread. All threads are daemons: a stuck one does not keep the process from ending.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import queue
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from types import CodeType
from typing import Any, Generic, Protocol, TypeVar

from mcp_workflows.steps.python.handover import Handover, tell

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Busy(Exception):
    """Nothing can be begun now, and nothing was. The message says what is in the way."""


class Beginning:
    """Settles between two threads whether a function begins, or is given up before it has."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun: bool | None = None

    def begin(self) -> bool:
        """The function's side, right before it is called; false when it was given up."""
        with self._lock:
            if self._begun is None:
                self._begun = True
            return self._begun

    def give_up(self) -> bool:
        """The attempt's side; false when it has begun already."""
        with self._lock:
            if self._begun is None:
                self._begun = False
            return not self._begun


class Turn(Protocol):
    """What an attempt wants to know about its place among others."""

    def waits(self) -> None: ...

    def comes(self) -> None: ...


class Threads:
    """A bounded pool, used from one event loop."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = 0
        self._idle = 0
        self._taken = 0
        self._stuck: dict[asyncio.Future[Any], str] = {}
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def run(self, name: str, call: Callable[[], _T], turn: Turn) -> _T:
        """What ``call`` gives; it must not raise. Cancelled, it leaves at once; what was begun goes on in its thread.

        Raises ``Busy`` when every place is held by a function whose time is up.
        """
        if self._taken >= self._places:
            turn.waits()
            await self._wait()
            turn.comes()
        else:
            self._taken += 1
        done: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        self._begin(partial(self._work, call, done))
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            if not done.done():
                self._abandon(done, name)
            raise

    def _work(self, call: Callable[[], _T], done: asyncio.Future[_T]) -> None:
        outcome = call()
        tell(done.get_loop(), self._done, done, outcome)

    def _begin(self, work: Callable[[], None]) -> None:
        if self._idle:
            self._idle -= 1
        else:
            self._threads += 1
            threading.Thread(target=self._serve, name=f"mcp-workflows-function-{self._threads}", daemon=True).start()
        self._queue.put(work)

    def _serve(self) -> None:
        while (work := self._queue.get()) is not None:
            work()
            del work

    def _done(self, done: asyncio.Future[_T], outcome: _T) -> None:
        """In the event loop: the thread is free, and its place with it."""
        name = self._stuck.pop(done, None)
        if name is not None:
            _log.warning('the function "%s" ended after its time was up; what it gave is dropped', name)
        self._idle += 1
        self._leave()
        done.set_result(outcome)

    def _abandon(self, done: asyncio.Future[Any], name: str) -> None:
        self._stuck[done] = name
        _log.warning(
            'the function "%s" still runs though its time is up; it holds one of %d threads until it ends (%d are held so)',
            name,
            self._places,
            len(self._stuck),
        )
        if len(self._stuck) >= self._places:
            for turn in self._waiting:
                if not turn.done():
                    turn.set_exception(Busy(self._all_stuck()))

    def _all_stuck(self) -> str:
        names = ", ".join(sorted(set(self._stuck.values())))
        return f"all {self._places} threads for functions are held by functions whose time is up ({names})"

    async def _wait(self) -> None:
        if len(self._stuck) >= self._places:
            raise Busy(self._all_stuck())
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._leave()
            raise
        finally:
            if turn in self._waiting:
                self._waiting.remove(turn)

    def _leave(self) -> None:
        """Hands the place to whoever waits longest."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._taken -= 1

    def close(self) -> None:
        """Idle threads end; the others end with their function."""
        for _ in range(self._threads):
            self._queue.put(None)


class _Visit(Generic[_T]):
    """A coroutine in another event loop, in the context of whoever asks for it, and what it gives in this one."""

    def __init__(self, call: Callable[[], Coroutine[Any, Any, _T]], there: Handover, here: Handover) -> None:
        self._call = call
        self._context = contextvars.copy_context()
        self._there = there
        self._here = here
        self._task: asyncio.Task[_T] | None = None
        self._left = False
        self._ended = False
        self.done: asyncio.Future[_T] = here.loop.create_future()
        there.put(self._start)

    def leave(self) -> None:
        """Cancels the coroutine, unless it has ended."""
        if not self._ended:
            self._there.put(self._cancel)

    # In the other loop

    def _start(self) -> None:
        if not self._left:
            self._task = self._there.loop.create_task(self._call(), context=self._context)
            self._task.add_done_callback(lambda task: self._here.put(partial(self._settle, task)))

    def _cancel(self) -> None:
        self._left = True
        if self._task is not None:
            self._task.cancel()

    # In this loop

    def _settle(self, task: asyncio.Task[_T]) -> None:
        self._ended = True
        if self.done.done():
            return
        if task.cancelled():
            self.done.cancel()
        elif (error := task.exception()) is not None:
            self.done.set_exception(error)
        else:
            self.done.set_result(task.result())


class LoopThread:
    """One event loop in a thread of its own, started at first use. Used from one event loop."""

    def __init__(self) -> None:
        self._there: Handover | None = None
        self._here: Handover | None = None
        self._thread: threading.Thread | None = None

    async def run(
        self, call: Callable[[], Coroutine[Any, Any, _T]], beginning: Beginning, patience: float, called_from: CodeType
    ) -> _T:
        """What ``call`` gives; it must not raise, and begin by ``beginning``. Cancelled, it cancels the coroutine and
        leaves at once.

        Raises ``Busy`` when it has not begun after ``patience`` seconds: some function blocks the loop.
        """
        if self._here is None:
            self._here = Handover(asyncio.get_running_loop())
        visit = _Visit(call, self._there or self._start(self._here.loop), self._here)
        timer = self._here.loop.call_later(patience, self._lose_patience, visit, beginning, called_from)
        try:
            return await visit.done
        finally:
            timer.cancel()
            visit.leave()

    def _lose_patience(self, visit: _Visit[Any], beginning: Beginning, called_from: CodeType) -> None:
        if not visit.done.done() and beginning.give_up():
            where = self._where(called_from)
            visit.done.set_exception(Busy(f"an async function blocks the event loop that all of them share{where}"))

    def _start(self, here: asyncio.AbstractEventLoop) -> Handover:
        loop = type(here)()  # of the same kind, which was chosen for its speed
        self._there = Handover(loop)
        self._thread = threading.Thread(target=_serve_loop, args=(loop,), name="mcp-workflows-async", daemon=True)
        self._thread.start()
        return self._there

    def _where(self, called_from: CodeType) -> str:
        """What blocks the loop, also for the log: what was called by ``called_from``."""
        frames = sys._current_frames()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # documented, and the only way
        frame = frames.get(self._thread.ident or 0) if self._thread is not None else None
        if frame is None:
            return ""
        _log.warning("the event loop of async functions is blocked:\n%s", "".join(traceback.format_stack(frame)))
        while frame.f_back is not None and frame.f_back.f_code is not called_from:
            frame = frame.f_back
        return f" (in {frame.f_code.co_name}, line {frame.f_lineno})"

    async def close(self, grace: float = 1.0) -> None:
        """Cancels what runs, and gives it ``grace`` seconds."""
        there, thread, self._there, self._thread = self._there, self._thread, None, None
        if there is None or thread is None:
            return
        tell(there.loop, there.loop.stop)
        await asyncio.to_thread(thread.join, grace)
        if thread.is_alive():
            _log.warning("an async function did not let itself be cancelled; it ends with the process")


def _serve_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
