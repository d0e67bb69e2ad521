"""When attempts end that take too long: any number of deadlines, and one timer of the event loop for all of them.

Hardly a deadline is ever reached, so what counts is what setting one costs: a timer for each took a tenth of a request.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class Deadlines:
    """Used from one event loop."""

    def __init__(self) -> None:
        self.pending: set[Deadline] = set()
        """Those that may be reached."""
        self._timer: asyncio.TimerHandle | None = None
        self._at = 0.0
        """When the timer goes off: no later than the first deadline."""

    def expect(self, at: float) -> None:
        """Sees to it that the timer goes off by then."""
        if self._timer is not None:
            if self._at <= at:
                return
            self._timer.cancel()
        self._at = at
        self._timer = asyncio.get_running_loop().call_at(at, self._look)

    def _look(self) -> None:
        self._timer = None
        now = max(self._at, asyncio.get_running_loop().time())  # the loop may call a little early, by its clock
        for deadline in [deadline for deadline in self.pending if deadline.at <= now]:
            deadline.reach()
        if self.pending:
            self.expect(min(deadline.at for deadline in self.pending))

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Deadline:
    """``with`` it, a block ends with ``TimeoutError`` after ``seconds``; as of ``asyncio.timeout``, but for its price.

    ``None``: never.
    """

    __slots__ = ("_all", "_cancelling", "_expired", "_task", "at", "seconds")

    def __init__(self, deadlines: Deadlines, seconds: float | None) -> None:
        self._all = deadlines
        self._task: asyncio.Task[object] | None = None
        """Whose block it is, while that lasts."""
        self._expired = False
        self.seconds = seconds
        self.at = 0.0
        """By the loop's clock, while it is set."""

    def nested(self, seconds: float | None) -> Deadline:
        """Another, for a block inside of this one's."""
        return Deadline(self._all, seconds)

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self.renew()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _where: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        self._all.pending.discard(self)
        # Whoever else cancelled the task is heard before the deadline.
        if self._expired and task and task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def renew(self) -> None:
        """The whole time once more, from now; unless it is over, or the block is."""
        if self.seconds is None or self._expired or self._task is None:
            return
        self.at = asyncio.get_running_loop().time() + self.seconds
        self._all.pending.add(self)
        self._all.expect(self.at)

    def suspend(self) -> None:
        """Not to be reached until it is renewed."""
        self._all.pending.discard(self)

    def reach(self) -> None:
        """The time is over."""
        self._all.pending.discard(self)
        self._expired = True
        if self._task is not None:
            self._task.cancel()

    @property
    def expired(self) -> bool:
        return self._expired
