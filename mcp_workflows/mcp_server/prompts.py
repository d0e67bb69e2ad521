"""Prompts: to find out why a run failed, and to write a definition."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    GetPromptRequestParams,
    GetPromptResult,
    ListPromptsResult,
    PaginatedRequestParams,
    Prompt,
    PromptArgument,
    PromptMessage,
    TextContent,
)

from mcp_workflows.clock import Clock
from mcp_workflows.definition.phrases import did_you_mean
from mcp_workflows.definition.program import Json
from mcp_workflows.engine.records import StepRecord
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.errors import UnknownRun
from mcp_workflows.mcp_server.authoring.guide import GUIDE
from mcp_workflows.mcp_server.caller import caller_of
from mcp_workflows.mcp_server.pages import page_of
from mcp_workflows.mcp_server.views.run_object import Telling, run_object
from mcp_workflows.mcp_server.views.trace_document import small, step_line, step_whole
from mcp_workflows.mcp_server.views.uris import workflow_uri
from mcp_workflows.mcp_server.views.waits import Ways
from mcp_workflows.mcp_server.views.wording import cut
from mcp_workflows.runtime.runs import Runs
from mcp_workflows.runtime.views import Trace, TraceMessage

Context = ServerRequestContext[dict[str, Any], Any]

DIAGNOSE = "diagnose_run"
WRITE = "write_workflow"
RUN_ID = "run_id"

CHECKED_BY_HAND = "The user checks it with: mcp-workflows validate FILE."

_LAST_STEPS, _LAST_MESSAGES = 20, 5
_HOW = (
    "An error that is in_doubt may have taken effect all the same: say how to find out. get_run with select steps.PATH gives "
    "more of a step, with select trace everything. `next` above says what may be done; resume_run goes on from the failed "
    "step, cancel_run ends the run and undoes its steps."
)
_LONGEST_GOAL = 4000

PROMPTS = [
    Prompt(
        name=DIAGNOSE,
        title="Find out why a run failed",
        description="What is recorded of the run, and what may be done about it.",
        arguments=[PromptArgument(name=RUN_ID, description="The run, or the beginning of its id.", required=True)],
    ),
    Prompt(
        name=WRITE,
        title="Write a workflow",
        description="The definition language on one page, for a workflow that you describe.",
        arguments=[
            PromptArgument(name="goal", description="What the workflow is to do, and with what.", required=True)
        ],
    ),
]


class Prompts:
    """``checking``: how a definition is checked here."""

    def __init__(self, runs: Runs, clock: Clock, ways: Ways, checking: str) -> None:
        self._runs = runs
        self._clock = clock
        self._ways = ways
        self._checking = checking

    async def list(self, _ctx: Context, params: PaginatedRequestParams | None) -> ListPromptsResult:
        page, following = page_of(PROMPTS, lambda one: one.name, params, listed="prompts/list")
        return ListPromptsResult(prompts=page, next_cursor=following)

    async def get(self, ctx: Context, params: GetPromptRequestParams) -> GetPromptResult:
        prompt = _named(params.name)
        given = _arguments(prompt, params.arguments or {})
        text = self._write(given["goal"]) if prompt.name == WRITE else await self._diagnose(ctx, given[RUN_ID])
        message = PromptMessage(role="user", content=TextContent(type="text", text=text))
        return GetPromptResult(description=prompt.description, messages=[message])

    async def _diagnose(self, ctx: Context, run_id: str) -> str:
        sees = caller_of(ctx).sees
        try:
            view = await self._runs.get(run_id, actor=sees)
            trace = await self._runs.trace(view.run_id, actor=sees)
        except UnknownRun:
            raise MCPError(INVALID_PARAMS, f"No run {cut(run_id, 40)} that you may see.") from None
        told = run_object(view, Telling(self._clock(), named=True, ways=self._ways.now(self._runs)))
        task = _TASKS.get(view.status, f"is {view.status}. Say how far it is and what it needs, if anything")
        steps = {step.path: step for step in trace.steps}
        failed = steps.get(view.error.step) if view.error is not None and view.error.step is not None else None
        lines = [step_line(one) for one in trace.steps[-_LAST_STEPS:]]
        messages = [_message(one) for one in trace.messages[-_LAST_MESSAGES:]]
        parts = [
            f"The run {view.run_id} of the workflow {view.workflow} {task}. Change nothing before the user agrees.",
            self._purpose(view.workflow),
            _part("The run", told),
            _part("Its input", small(view.input)),
            _part("The step that failed", _failed(failed, trace)) if failed is not None else "",
            _part(f"The last of its {len(trace.steps)} steps", lines),
            _part("What it was last told from outside", messages) if messages else "",
            _HOW,
        ]
        return "\n\n".join(filter(None, parts))

    def _purpose(self, workflow: str) -> str:
        definition = self._runs.catalog.definitions.get(workflow)
        if definition is None:
            return ""
        shown = f" The resource {workflow_uri(workflow)} shows its steps." if definition.mcp.expose != "none" else ""
        return f"What the workflow is for: {cut(definition.description.strip(), _LONGEST_GOAL)}{shown}"

    def _write(self, goal: str) -> str:
        return (
            f"Write a workflow definition that does this:\n\n{cut(goal.strip(), _LONGEST_GOAL)}\n\n{GUIDE}\n"
            f"{self._checking}\n\nAnswer with the whole file, and say which variables and secrets it needs."
        )


_TASKS: Mapping[RunStatus, str] = {
    RunStatus.FAILED: "has failed. Find out why, and say what should be done",
    RunStatus.PAUSED: "is paused because a step failed. Find out why, and say with what correction it should go on, if any",
    RunStatus.COMPLETED: "has completed. Say what it did, and whether anything in it went wrong on the way",
}


def _named(name: str) -> Prompt:
    for prompt in PROMPTS:
        if prompt.name == name:
            return prompt
    names = [prompt.name for prompt in PROMPTS]
    hint = did_you_mean(name, names) or f" Prompts here: {', '.join(names)}."
    raise MCPError(INVALID_PARAMS, f'No prompt "{cut(name, 80)}".{hint}')


def _arguments(prompt: Prompt, given: Mapping[str, str]) -> Mapping[str, str]:
    wanted = [argument.name for argument in prompt.arguments or ()]
    missing = [name for name in wanted if not given.get(name, "").strip()]
    unknown = [name for name in given if name not in wanted]
    if missing or unknown:
        said = [f"{name} is missing." for name in missing] + [f"{cut(name, 80)} is not known." for name in unknown[:3]]
        raise MCPError(INVALID_PARAMS, f"{prompt.name}: {' '.join(said)}")
    return given


def _failed(step: StepRecord, trace: Trace) -> Json:
    return {name: small(value) for name, value in step_whole(step, trace.attempts).items()}


def _message(message: TraceMessage) -> Json:
    told: dict[str, Json] = {"kind": message.kind, "actor": message.actor}
    return told | ({"reason": cut(message.reason, 200)} if message.reason else {}) | {"body": small(message.body)}


def _part(title: str, value: Json) -> str:
    """Of a list each element on a line of its own: that is read as easily, and costs half."""
    if isinstance(value, list):
        elements = cast("list[Json]", value)
        text = ",\n".join(json.dumps(one, ensure_ascii=False) for one in elements)
        text = f"[{text}]"
    else:
        text = json.dumps(value, ensure_ascii=False, indent=1)
    return f"{title}:\n```json\n{text.encode('utf-8', 'replace').decode()}\n```"
