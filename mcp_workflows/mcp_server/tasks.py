"""The extension ``io.modelcontextprotocol/tasks`` (SEP-2663): a run as a task, for clients that declare it with a request.

A task's id is its run's id, so nothing is kept of a task: whoever may see the run can ask for it, on any node, at any time.
What the run needs from outside is a task's ``inputRequests``; each has a key that no other request of the task ever has. How it
ended is its ``result``, the same that the tool would have answered.

The extension is here and nowhere else, so that an official package can take the place of this file. ``server`` alone imports it
(``Tasks.install`` and ``call``, ``declares``, ``CHANGING``); what a run asks, by which keys, and what an answer does to it is
``people.asked``, and the tools' own ``begin``, ``follow`` and ``result`` are ``tools.calls``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import MCP_NAME_HEADER, decode_header_value
from mcp_types import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    CallToolResult,
    ElicitResult,
    RequestParams,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from mcp_workflows.clock import Clock
from mcp_workflows.definition.program import Definition, Json
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.errors import CallerError, SystemUnwell, UnknownRun
from mcp_workflows.mcp_server.caller import Caller, caller_of
from mcp_workflows.mcp_server.people.asked import Asked, asked_of, take
from mcp_workflows.mcp_server.people.person import People
from mcp_workflows.mcp_server.people.screen import Screen
from mcp_workflows.mcp_server.subscriptions.announcer import Announcer
from mcp_workflows.mcp_server.subscriptions.listener import Notice, Stop, Tell
from mcp_workflows.mcp_server.tools.calls import Calls
from mcp_workflows.mcp_server.tools.follower import Followed
from mcp_workflows.mcp_server.tools.toolbox import Toolbox
from mcp_workflows.mcp_server.views.next_step import next_step
from mcp_workflows.mcp_server.views.refusals import bounded
from mcp_workflows.mcp_server.views.wording import clean, cut
from mcp_workflows.runtime.runs import Runs
from mcp_workflows.runtime.views import Past, RunView

Context: TypeAlias = ServerRequestContext[Any, Any]

EXTENSION: Final = "io.modelcontextprotocol/tasks"
CHANGING: Final = ("tasks/update", "tasks/cancel")
"""Methods that change a run."""
VIA: Final = "task"
"""Through what an answer to a task's request came, as it is recorded."""
AT_ONCE: Final = 0.3
"""Seconds in which a run may end so that its call is answered with the result, and not with a task to be fetched."""
_UNKNOWN: Final = "No such task."
_POLL_MS: Final = 1000
_POLL_WAITING_MS: Final = 5000
"""Of a run that waits for somebody."""
_LONGEST_MESSAGE: Final = 300
_ENDED: Final = {
    RunStatus.COMPLETED: "completed",
    RunStatus.FAILED: "completed",
    RunStatus.COMPENSATED: "completed",
    RunStatus.CANCELLED: "cancelled",
}
"""A run that failed has a result that says so; ``failed`` is for requests that the protocol could not serve."""


class TaskParams(RequestParams):
    """Of every method of the extension."""

    task_id: str


class UpdateParams(TaskParams):
    """``input_responses`` by the key of the request; what they hold is checked where the request is known."""

    input_responses: dict[str, Any]


class Tasks:
    """The extension's methods, and the tasks that tools answer with."""

    def __init__(self, runs: Runs, calls: Calls, people: People, toolbox: Callable[[], Toolbox], clock: Clock) -> None:
        self._runs = runs
        self._calls = calls
        self._people = people
        self._toolbox = toolbox
        self._clock = clock

    def install(self, server: Server[Any], announcer: Announcer) -> None:
        server.extensions[EXTENSION] = {}
        server.add_request_handler("tasks/get", TaskParams, self._get)
        server.add_request_handler("tasks/update", UpdateParams, self._update)
        server.add_request_handler("tasks/cancel", TaskParams, self._cancel)
        announcer.offer("taskIds", self._offer)

    async def call(
        self, definition: Definition, toolbox: Toolbox, arguments: Mapping[str, Json], caller: Caller
    ) -> CallToolResult | dict[str, Any]:
        """The tool of a workflow, for a request that declares the extension: the task is durable once it is answered."""
        begun = await self._calls.begin(definition, arguments, caller)
        if isinstance(begun, CallToolResult):
            return begun
        followed = await self._calls.follow(begun, min(definition.mcp.wait, AT_ONCE), caller)
        view = followed.view
        past = await self._runs.past(view) if view.joined else Past()
        if view.status.finished or past.ended:
            return self._calls.result(followed, toolbox)
        return {"resultType": "task", **task_object(view, past, await self._runs.last_change(view), {})}

    # The methods

    async def _get(self, ctx: Context, params: TaskParams) -> dict[str, Any]:
        caller = _admitted(ctx, params.task_id)
        view = await self._view(params.task_id, caller)
        return {"resultType": "complete", **await self._task(view, caller, self._people.screen(ctx))}

    async def _update(self, ctx: Context, params: UpdateParams) -> dict[str, Any]:
        """Answers to what is not, or no longer, asked of this client are passed over.

        What does not fit is asked again, with why, in a request of its own: an error would end the task for clients, and what
        they have shown once they do not show again.
        """
        caller = _admitted(ctx, params.task_id)
        view = await self._view(params.task_id, caller)
        in_vain: list[str] = []
        for key, asked in self._asked(view, await self._past(view), caller, self._people.screen(ctx)).items():
            reply = _reply(key, params.input_responses[key]) if key in params.input_responses else None
            if reply is None or reply.action != "accept":
                continue  # which decides nothing
            taking = take(self._runs, view, asked, reply.content or {}, actor=caller.sees, by=caller.actor, via=VIA)
            with _as_protocol_errors():
                in_vain += filter(None, [await self._calls.durably.finish(taking)])
        if in_vain:
            raise MCPError(INVALID_PARAMS, " ".join(in_vain))
        return {"resultType": "complete"}

    async def _cancel(self, ctx: Context, params: TaskParams) -> dict[str, Any]:
        caller = _admitted(ctx, params.task_id)
        view = await self._view(params.task_id, caller)
        with _as_protocol_errors():
            await self._calls.durably.finish(
                self._runs.cancel(view.run_id, actor=caller.sees, by=caller.actor, via=VIA)
            )
        return {"resultType": "complete"}

    async def _task(self, view: RunView, caller: Caller, screen: Screen | None) -> dict[str, Any]:
        past = await self._past(view)
        asked = self._asked(view, past, caller, screen)
        way = None if asked else self._calls.way(view)
        told = task_object(view, past, await self._runs.last_change(view), asked, way)
        if told["status"] == "completed":
            result = self._calls.result(Followed(view), self._toolbox())
            told["result"] = result.model_dump(by_alias=True, mode="json", exclude_none=True)
        return told

    async def _past(self, view: RunView) -> Past:
        with _as_protocol_errors():
            return Past() if view.status.finished else await self._runs.past(view)

    def _asked(self, view: RunView, past: Past, caller: Caller, screen: Screen | None) -> dict[str, Asked]:
        """A client that can put nothing before a person is not asked to, nor one of somebody who may not answer."""
        if screen is None or not caller.may_act:
            return {}
        person = screen.answers_as(caller.actor, known=caller.principal is not None)
        return asked_of(view, past, screen, person, self._clock())

    async def _view(self, task_id: str, caller: Caller) -> RunView:
        """By the whole id: a task that is not there, and one of somebody else, are refused alike."""
        with _as_protocol_errors():
            view = await self._runs.get(task_id, actor=caller.sees)
        if view.run_id != task_id:
            raise MCPError(INVALID_PARAMS, _UNKNOWN)
        return view

    # What is told of it unasked

    def _offer(self, ctx: Context, task_id: str) -> _TaskTopic:
        return _TaskTopic(self, self._runs, task_id, _declaring(ctx), ctx)

    async def told(self, task_id: str, caller: Caller, ctx: Context) -> dict[str, Any] | None:
        """The whole task, as it is told unasked; ``None``: it cannot be looked at now."""
        try:
            return await self._task(await self._view(task_id, caller), caller, self._people.screen(ctx))
        except (MCPError, CallerError, SystemUnwell):
            return None


class _TaskTopic:
    """One task that one client listens to. It is told how the task stands at first, and whenever that is something else."""

    def __init__(self, tasks: Tasks, runs: Runs, task_id: str, caller: Caller, ctx: Context) -> None:
        self._tasks = tasks
        self._runs = runs
        self._task_id = task_id
        self._caller = caller
        self._ctx = ctx
        self._last: dict[str, Any] | None = None

    async def follow(self, tell: Tell) -> Stop:
        view = await self._runs.get(self._task_id, actor=self._caller.sees)
        if view.run_id != self._task_id:
            raise UnknownRun(f"No run {self._task_id} that you may see.")
        stop = await self._runs.follow(self._task_id, tell, actor=self._caller.sees)
        tell()
        return stop

    async def notice(self) -> Notice | None:
        if self._last is not None and has_ended(self._last):
            return None
        told = await self._tasks.told(self._task_id, self._caller, self._ctx)
        if told is None or same_task(told, self._last):
            return None
        self._last = told
        return Notice("notifications/tasks", told)


def task_object(
    view: RunView, past: Past, changed_at: datetime, asked: Mapping[str, Asked], way: str | None = None
) -> dict[str, Any]:
    """The task, without its result. ``asked``: what the client is to ask, as of ``asked_of``; ``way``: where people answer.

    A task that has ended stays so, also where its run was resumed and goes on: then the result says how far that is.
    """
    status = _ENDED.get(view.status) or ("completed" if past.ended else "input_required" if asked else "working")
    told: dict[str, Any] = {"taskId": view.run_id, "status": status}
    if (message := _message(view, changed_at)) is not None:
        told["statusMessage"] = cut(clean(message), _LONGEST_MESSAGE) + (f" Answer: {way}" if way else "")
    told |= {"createdAt": _instant(view.created_at), "lastUpdatedAt": _instant(changed_at), "ttlMs": None}
    if not has_ended(told):
        somebody = view.waiting_for or view.status is RunStatus.PAUSED
        told["pollIntervalMs"] = _POLL_WAITING_MS if somebody else _POLL_MS
    if asked:
        requests = {key: one.request for key, one in asked.items()}
        told["inputRequests"] = {
            key: request.model_dump(by_alias=True, mode="json", exclude_none=True) for key, request in requests.items()
        }
    return told


def has_ended(told: Mapping[str, Any]) -> bool:
    return told["status"] in _ENDED.values()


def same_task(told: Mapping[str, Any], before: Mapping[str, Any] | None) -> bool:
    """As far as anybody would care."""
    return before is not None and {**told, "lastUpdatedAt": None} == {**before, "lastUpdatedAt": None}


def _message(view: RunView, now: datetime) -> str | None:
    """For whoever looks at the task: clients show it to people, if to anybody."""
    if view.waiting_for:
        first = view.waiting_for[0]
        who = f" (by {', '.join(first.approvers[:3])})" if first.approvers else ""
        return f"Waits for {first.name}{who}: {first.message or first.kind}"
    if view.error is not None:
        return f"{view.error.step}: {view.error.message}" if view.error.step else view.error.message
    if view.status is RunStatus.CANCELLED:
        return next_step(view, now)
    if view.progress is not None and not view.status.finished:
        running = f", now {', '.join(view.progress.running[:3])}" if view.progress.running else ""
        return f"{view.progress.completed} steps done{running}"
    return None


def _instant(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def declares(ctx: Context) -> bool:
    """Whether this very request says that its client knows the extension."""
    if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
        return False
    capabilities = ctx.session.client_capabilities
    return capabilities is not None and EXTENSION in (capabilities.extensions or {})


def _declaring(ctx: Context) -> Caller:
    if not declares(ctx):
        required: dict[str, Any] = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
        raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, f"This needs the extension {EXTENSION}.", required)
    return caller_of(ctx)


def _admitted(ctx: Context, task_id: str) -> Caller:
    """What the extension wants of a request for a task, which the SDK checks for requests of the core alone.

    A header that names another task is refused. One that is missing is not, though clients must send it: it is for those in
    between that route by it, every node here knows every task, and clients at large leave it out.
    """
    if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
        raise MCPError(METHOD_NOT_FOUND, "Method not found", ctx.method)
    caller = _declaring(ctx)
    named = None if ctx.request is None else ctx.request.headers.get(MCP_NAME_HEADER)
    if named is not None and decode_header_value(named) != task_id:
        raise MCPError(HEADER_MISMATCH, f"The {MCP_NAME_HEADER} header is not the task's id.")
    return caller


@contextmanager
def _as_protocol_errors() -> Generator[None]:
    try:
        yield
    except UnknownRun:
        raise MCPError(INVALID_PARAMS, _UNKNOWN) from None
    except CallerError as refused:
        raise MCPError(INVALID_PARAMS, bounded(refused)) from None


def _reply(key: str, given: Any) -> ElicitResult:
    try:
        return ElicitResult.model_validate(given, by_name=False)
    except ValidationError:
        raise MCPError(INVALID_PARAMS, f"inputResponses[{key!r}] is no answer to elicitation/create.") from None
