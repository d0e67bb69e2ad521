"""Those in this process who wait for runs, and are woken when something is recorded of them, whoever moves them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Generator
from contextlib import contextmanager

from mcp_workflows.engine.records import Run
from mcp_workflows.engine.states import RunStatus


class Watch:
    """What somebody who waits for a run holds."""

    def __init__(self) -> None:
        self._run: Run | None = None
        self._noticed = asyncio.Event()
        self.heeds: Callable[[Run], bool] = lambda _run: True
        """Whether that the run stands so is worth waking up for."""

    def notice(self, run: Run | None) -> None:
        if run is None or self.heeds(run):
            self._run = run
            self._noticed.set()

    async def news(self) -> Run | None:
        """Until something was recorded: the run as it is since then, or ``None`` when it has to be read."""
        await self._noticed.wait()
        self._noticed.clear()
        return self._run


class Watches:
    """Who watches which run. A watch may be on several runs."""

    def __init__(self) -> None:
        self._of: dict[str, list[Watch]] = {}

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._of

    @contextmanager
    def on(self, run_id: str) -> Generator[Watch]:
        """Notices, while the block runs, whatever is recorded of the run."""
        watch = Watch()
        self.add(run_id, watch)
        try:
            yield watch
        finally:
            self.remove(run_id, watch)

    def add(self, run_id: str, watch: Watch) -> None:
        """From now on ``watch`` notices whatever is recorded of the run."""
        self._of.setdefault(run_id, []).append(watch)

    def remove(self, run_id: str, watch: Watch) -> None:
        watches = self._of[run_id]
        watches.remove(watch)
        if not watches:
            del self._of[run_id]

    def notify(self, run: Run) -> None:
        """Something was recorded of it, by this process."""
        for watch in self._of.get(run.run_id, ()):
            watch.notice(run)

    def notify_all(self, *, but: Container[str] = ()) -> None:
        """Others may have recorded something of any run, except of those that this process moves."""
        for run_id, watches in self._of.items():
            if run_id not in but:
                for watch in watches:
                    watch.notice(None)


def is_news(run: Run, known: frozenset[str] = frozenset()) -> bool:
    """Whether whoever waits for the run need wait no longer. ``known``: paths of the waits for an answer that are no news."""
    record = run.record
    return record.status.finished or record.status is RunStatus.PAUSED or not known.issuperset(record.waiting_for)
