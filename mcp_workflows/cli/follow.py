"""Following a run to its end: a picture that moves on a terminal, one line per event elsewhere."""

from __future__ import annotations

import time
from typing import Final

from rich.console import Console
from rich.live import Live

from mcp_workflows.cli.exits import Exit
from mcp_workflows.cli.timeline import answering, ending, headline, rows, standing, timeline
from mcp_workflows.clock import utc_now
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.runtime.runs import Runs
from mcp_workflows.runtime.views import RunView, Trace

_BETWEEN_PICTURES_SECONDS: Final = 0.2
_SHARE: Final = 5
"""Looking takes at most one part in so many of the time."""


async def follow(runs: Runs, run_id: str, console: Console, *, result: bool = True, place: str = "") -> RunView:
    """Shows the run on ``console`` until it has ended or is paused; the run as it then stands.

    ``result`` is whether its result is part of the picture; ``place`` what a next command must say to find the run.
    """
    shown = _moving if console.is_terminal and not console.is_dumb_terminal else _lines
    return (await shown(runs, run_id, console, result, place)).run


def exit_of(run: RunView) -> Exit:
    """The exit code that says how a run stands."""
    match run.status:
        case RunStatus.COMPLETED:
            return Exit.DONE
        case RunStatus.FAILED | RunStatus.CANCELLED | RunStatus.COMPENSATED:
            return Exit.FAILED
        case RunStatus.PAUSED:
            return Exit.PAUSED
        case _:
            return Exit.UNFINISHED


def at_rest(run: RunView) -> bool:
    """It does not move on by itself."""
    return run.status.finished or run.status is RunStatus.PAUSED


async def wait_for_rest(runs: Runs, run_id: str) -> RunView:
    """The run once it has ended or is paused, without a word until then."""
    while True:
        view = await runs.wait(run_id, actor=None, seconds=60.0)
        if at_rest(view):
            return view


async def _moving(runs: Runs, run_id: str, console: Console, result: bool, place: str) -> Trace:
    pace = _Pace(runs, run_id)
    with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
        while True:
            trace = await pace.trace()
            live.update(timeline(trace, utc_now(), result=result, place=place), refresh=True)
            if at_rest(trace.run):
                return trace
            await pace.pause()


async def _lines(runs: Runs, run_id: str, console: Console, result: bool, place: str) -> Trace:
    pace = _Pace(runs, run_id)
    printed: set[tuple[object, ...]] = set()
    stood = False
    while True:
        trace = await pace.trace()
        if not printed:
            stood = at_rest(trace.run)  # which the headline tells
            console.print(headline(trace.run, utc_now()), soft_wrap=True)
            printed.add(())
        for row in rows(trace, utc_now()):
            if row.settled and row.key not in printed:
                printed.add(row.key)
                console.print(row.line(trace.run.created_at), soft_wrap=True)
        for wait in trace.run.waiting_for:
            if ("wait", wait.path) not in printed:
                printed.add(("wait", wait.path))
                console.print(answering(trace.run, wait, place), soft_wrap=True)
        if at_rest(trace.run):
            if not stood:
                console.print(standing(trace.run, utc_now()), soft_wrap=True)
            for line in ending(trace.run, result=result, place=place):
                console.print(line, soft_wrap=True)
            return trace
        await pace.pause()


class _Pace:
    """Looks at a run again and again, the more seldom the longer it takes: a run of many thousand steps has much to tell."""

    def __init__(self, runs: Runs, run_id: str) -> None:
        self._runs = runs
        self._run_id = run_id
        self._took = 0.0

    async def trace(self) -> Trace:
        begun = time.monotonic()
        trace = await self._runs.trace(self._run_id, actor=None)
        self._took = time.monotonic() - begun
        return trace

    async def pause(self) -> None:
        seconds = max(_BETWEEN_PICTURES_SECONDS, _SHARE * self._took)
        await self._runs.wait(self._run_id, actor=None, seconds=seconds)
