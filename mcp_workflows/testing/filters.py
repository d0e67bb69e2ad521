"""``jq`` filters are run for real, as they change nothing and depend on nothing but their input."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from mcp_workflows.engine.outcome import Outcome
from mcp_workflows.steps.attempt import Attempt
from mcp_workflows.steps.deadline import Deadline, Deadlines
from mcp_workflows.steps.environment import MEBIBYTE
from mcp_workflows.steps.jq.doer import Jq


class Filters:
    """Runs filters as a node does, in a thread with an event loop of its own: whoever tests may have one running."""

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._runner = asyncio.Runner()
        self._deadlines = Deadlines()
        self._jq = Jq(max_bytes=MEBIBYTE)

    def run(self, attempt: Attempt) -> Outcome:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "jq")
        return self._thread.submit(lambda: self._runner.run(self._attempt(attempt))).result()

    async def _attempt(self, attempt: Attempt) -> Outcome:
        try:
            with Deadline(self._deadlines, attempt.call.timeout) as attempt.deadline:
                return await self._jq.attempt(attempt)
        except TimeoutError:
            return attempt.failed("timeout", f"{attempt.label} took longer than {attempt.call.timeout:g} s")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._thread.submit(lambda: self._runner.run(self._jq.close())).result()
            self._thread.submit(self._runner.close).result()
            self._thread.shutdown()
