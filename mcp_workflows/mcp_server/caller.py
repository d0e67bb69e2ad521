"""Who calls a tool, and how far a waiting call has come: what the tools need to know of a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from mcp_workflows.runtime.views import RunView

LOCAL = "local"
"""The actor on stdio, and over HTTP as long as nobody has to authenticate."""

Report = Callable[[float, str | None], Awaitable[None]]
"""Sends one progress notification: how much, and a message. Does nothing where the client asked for none."""


@dataclass(slots=True)
class Caller:
    """One call. ``report`` tells its client how far the run is while the call waits."""

    actor: str
    report: Report
    _last: float = field(default=-1.0, init=False)

    async def on_progress(self, view: RunView) -> None:
        """The protocol wants each notification to be higher than the one before, so one that is not is left out."""
        if view.progress is not None and view.progress.completed > self._last:
            self._last = view.progress.completed
            await self.report(self._last, ", ".join(view.progress.running[:5]) or str(view.status))
