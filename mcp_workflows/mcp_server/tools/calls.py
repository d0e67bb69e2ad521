"""What each tool does: ask ``Runs``, and tell the answer as a run object or the refusal as a text."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from mcp_types import CallToolResult

from mcp_workflows.access.principal import RUN
from mcp_workflows.clock import Clock
from mcp_workflows.definition.program import Definition, Json
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.errors import CallerError, InputRefused, PersonNeeded, UnknownRun
from mcp_workflows.mcp_server.caller import Caller
from mcp_workflows.mcp_server.tools.answers import Answer, answer, refusal
from mcp_workflows.mcp_server.tools.arguments import ArgumentsRefused, idempotency_key_of, since_of
from mcp_workflows.mcp_server.tools.built_in import Arguments
from mcp_workflows.mcp_server.tools.durably import Durably
from mcp_workflows.mcp_server.tools.follower import Followed, Follower
from mcp_workflows.mcp_server.tools.toolbox import Toolbox
from mcp_workflows.mcp_server.tools.workflow_tools import IDEMPOTENCY_KEY
from mcp_workflows.mcp_server.views import refusals
from mcp_workflows.mcp_server.views.next_step import next_step, nothing_to_cancel
from mcp_workflows.mcp_server.views.parts import selected
from mcp_workflows.mcp_server.views.run_object import Telling, omitted, run_line, run_object
from mcp_workflows.mcp_server.views.selection import SelectRefused, root_of
from mcp_workflows.mcp_server.views.waits import Ways
from mcp_workflows.runtime.runs import Runs
from mcp_workflows.runtime.views import RunQuery, RunView

logger = logging.getLogger(__name__)

CORRECTIONS = ("input", "request", "output", "skip", "again")
VIA = "mcp"
"""Through what an agent answered, corrected or cancelled, as it is recorded."""
_SETTLING_SECONDS = 0.5
_USUAL_WAIT = 10.0
"""Seconds that a resumed run is waited for if its workflow is no longer served here."""


class Calls:
    """The tools. Arguments have been checked against the tools' schemas, but for a workflow's own."""

    def __init__(self, runs: Runs, clock: Clock, ways: Ways) -> None:
        self._runs = runs
        self._clock = clock
        self._ways = ways
        self.durably = Durably()
        self._follower = Follower(runs, self.durably, clock, ways)

    @property
    def waiting(self) -> int:
        """How many of them wait for their runs."""
        return self._follower.waiting

    async def stop(self) -> None:
        """Let waiting calls answer now, and let what they began be recorded."""
        self._follower.stop()
        await self.durably.settled(_SETTLING_SECONDS)

    async def start(
        self, definition: Definition, toolbox: Toolbox, given: Mapping[str, Json], caller: Caller
    ) -> Answer:
        """The tool of a workflow: once this is answered the run is durable, whatever becomes of the call."""
        begun = await self.begin(definition, given, caller)
        if isinstance(begun, CallToolResult):
            return begun
        followed = await self._follower.follow(begun, definition.mcp.wait, caller)
        by_key = given.get(IDEMPOTENCY_KEY) is not None
        return followed.asking or self.result(followed, toolbox, by_key=by_key)

    async def begin(
        self, definition: Definition, given: Mapping[str, Json], caller: Caller
    ) -> RunView | CallToolResult:
        """The run, which is durable now, or why there is none. Raises ``SystemUnwell``: then there may be one."""
        if not caller.may_start(definition.name):
            return refusal(refusals.may_not(caller.actor, f"start {definition.name}", RUN))
        arguments = dict(given)
        try:
            key = idempotency_key_of(arguments.pop(IDEMPOTENCY_KEY, None))
            if (begun := await self._begun(caller)) is not None:
                return begun
            starting = self._runs.start(definition.name, arguments, actor=caller.actor, idempotency_key=key)
            return await self.durably.finish(starting)
        except (InputRefused, ArgumentsRefused) as refused:
            return refusal(refusals.start_refused(refused))
        except CallerError as refused:
            return refusal(refusals.bounded(refused))

    async def follow(self, view: RunView, seconds: float, caller: Caller) -> Followed:
        """Wait for the run without asking anybody."""
        return await self._follower.follow(view, seconds, replace(caller, person=None))

    def way(self, view: RunView) -> str | None:
        """Where a person answers the first thing that it waits for: an address, or a command; ``None``: no person has to."""
        wait = next(iter(view.waiting_for), None)
        if wait is None or wait.by != "person":
            return None
        return self._ways.now(self._runs).way(view.run_id, wait.name, wait.key)[1]

    def result(self, followed: Followed, toolbox: Toolbox, *, by_key: bool = False) -> CallToolResult:
        """What the tool of a workflow answers about its run."""
        view, catalog = followed.view, self._runs.catalog
        if (problem := catalog.broken_behind(view.workflow)) is not None:
            broken = refusals.broken_behind(view.workflow, problem, catalog.version_of(view.workflow))
            followed = replace(followed, remark=" ".join(filter(None, [broken, followed.remark])))
        told = run_object(view, self._telling(followed, by_key=by_key))
        if misfit := toolbox.misfit(view.workflow, told):
            told = _without_result(told, misfit)
        return answer(told, is_error=view.status is RunStatus.FAILED)

    async def get_run(self, arguments: Arguments, caller: Caller) -> Answer:
        run_id, select = arguments["run_id"], arguments.get("select")
        try:
            root = None if select is None else root_of(select)
            view = await self._begun(caller) or await self._runs.get(run_id, actor=caller.sees)
            followed = await self._follower.follow(view, arguments.get("wait_seconds", 0), caller, known=view.waits)
            if followed.asking is not None:
                return followed.asking
            view = followed.view
            told = run_object(view, self._telling(followed, named=True))
            if root is not None and select is not None:
                told = await selected(self._runs, view, root, select, told, actor=caller.sees)
        except SelectRefused as refused:
            return refusal(refusals.arguments_refused(str(refused)))
        except UnknownRun:
            return await self._unknown(run_id, caller)
        return answer(told)

    async def list_runs(self, arguments: Arguments, caller: Caller) -> Answer:
        now = self._clock()
        try:
            query = RunQuery(
                workflow=arguments.get("workflow"),
                status=arguments.get("status", "open"),
                idempotency_key=arguments.get("idempotency_key"),
                since=since_of(arguments.get("since"), now),
                actor=None if caller.may_list_all and not arguments.get("mine", True) else caller.actor,
                limit=int(arguments.get("limit", 10)),  # 10.0 is an integer to JSON Schema
                cursor=arguments.get("cursor"),
            )
            page = await self._runs.list(query)
        except (ArgumentsRefused, CallerError) as refused:
            return refusal(refusals.arguments_refused(str(refused)))
        told: dict[str, Json] = {"runs": [run_line(run, now) for run in page.runs]}
        if page.next_cursor is not None:
            told["next_cursor"] = page.next_cursor
        return answer(told)

    async def signal_run(self, arguments: Arguments, caller: Caller) -> Answer:
        run_id = arguments["run_id"]
        view = await self._done(
            lambda: self._runs.signal(
                run_id, arguments["name"], arguments.get("data"), actor=caller.sees, by=caller.actor, via=VIA,
                person=False,
            ),
            run_id,
            caller,
        )  # fmt: skip
        return view if isinstance(view, CallToolResult) else await self._told(view, caller)

    async def resume_run(self, arguments: Arguments, caller: Caller) -> Answer:
        run_id = arguments["run_id"]
        correction = {name: arguments[name] for name in CORRECTIONS if name in arguments}
        view = await self._done(
            lambda: self._runs.resume(
                run_id, actor=caller.sees, by=caller.actor, correction=correction, via=VIA, person=False,
                reason=arguments.get("reason"),
            ),
            run_id,
            caller,
        )  # fmt: skip
        return view if isinstance(view, CallToolResult) else await self._told(view, caller)

    async def cancel_run(self, arguments: Arguments, caller: Caller) -> Answer:
        run_id, asked_at = arguments["run_id"], self._clock()
        view = await self._done(
            lambda: self._runs.cancel(
                run_id, actor=caller.sees, by=caller.actor, via=VIA, compensate=arguments.get("compensate", True),
                reason=arguments.get("reason"),
            ),
            run_id,
            caller,
        )  # fmt: skip
        if isinstance(view, CallToolResult):
            return view
        if caller.round is None and _ended_before(view, asked_at):
            said = nothing_to_cancel(view, asked_at)
            following = next_step(view, asked_at)
            return answer(run_object(view, Telling(asked_at, next=f"{said} {following}" if following else said)))
        return await self._told(view, caller)

    async def _done(
        self, telling: Callable[[], Coroutine[Any, Any, RunView]], run_id: str, caller: Caller
    ) -> RunView | CallToolResult:
        """The run once it was told something, however the call ends; or why it was not. A call that is made again told it."""
        try:
            return await self._begun(caller) or await self.durably.finish(telling())
        except PersonNeeded as needed:
            ways = self._ways.now(self._runs)
            return refusal(refusals.person_needed(needed, *ways.way(needed.run_id, needed.name, needed.wait)))
        except UnknownRun:
            return await self._unknown(run_id, caller)
        except CallerError as refused:
            return refusal(refusals.bounded(refused))

    async def _begun(self, caller: Caller) -> RunView | None:
        """The run of a call that is made again after the person was asked: what it asked for was done the first time.

        Raises ``UnknownRun``.
        """
        before = caller.round
        if before is None:
            return None
        return replace(await self._runs.get(before.run_id, actor=caller.sees), joined=before.joined)

    def _telling(self, followed: Followed, *, named: bool = False, by_key: bool = False) -> Telling:
        now = self._clock()
        ways = self._ways.now(self._runs)
        following = followed.cut_short
        if followed.remark is not None:
            usual = following or next_step(followed.view, now, by_key=by_key, ways=ways)
            following = f"{followed.remark} {usual}" if usual else followed.remark
        return Telling(now, named=named, by_key=by_key, next=following, ways=ways)

    async def _told(self, view: RunView, caller: Caller) -> Answer:
        """The run after it was told something, and waited for as its tool would."""
        followed = await self._follower.follow(view, self._wait_of(view), caller)
        return followed.asking or answer(run_object(followed.view, self._telling(followed)))

    async def _unknown(self, run_id: str, caller: Caller) -> CallToolResult:
        page = await self._runs.list(RunQuery(actor=caller.actor, limit=3))
        more = page.next_cursor is not None
        return refusal(refusals.unknown_run(run_id, page.runs, self._clock(), more=more))

    def _wait_of(self, view: RunView) -> float:
        definition = self._runs.catalog.definitions.get(view.workflow)
        return _USUAL_WAIT if definition is None else definition.mcp.wait


def _ended_before(view: RunView, asked_at: datetime) -> bool:
    return view.finished_at is not None and view.finished_at < asked_at


def _without_result(told: Mapping[str, Json], misfit: str) -> dict[str, Json]:
    """A client that checks results would throw the whole answer away, so the result is left to get_run."""
    logger.warning("the result of run %s does not fit its output_schema: %s", told["run_id"], misfit)
    kept = {name: value for name, value in told.items() if name != "result"}
    kept["result_omitted"] = omitted(told["run_id"], told["result"])
    kept["next"] = f"The result does not fit its output_schema ({misfit}). Read it: get_run with select result."
    return kept
