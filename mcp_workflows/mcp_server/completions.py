"""Completions: names of workflows and ids of the caller's own runs, while somebody types them."""

from __future__ import annotations

from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CompleteRequestParams,
    CompleteResult,
    Completion,
    PromptReference,
)

from mcp_workflows.engine.states import RunStatus
from mcp_workflows.mcp_server.caller import caller_of
from mcp_workflows.mcp_server.prompts import DIAGNOSE, PROMPTS, RUN_ID
from mcp_workflows.mcp_server.tools.toolbox import ToolboxNow
from mcp_workflows.mcp_server.views.uris import RESULT_TEMPLATE, RUN_TEMPLATE, WORKFLOW_TEMPLATE
from mcp_workflows.mcp_server.views.wording import cut
from mcp_workflows.runtime.runs import Runs
from mcp_workflows.runtime.views import RunQuery, RunView

Context = ServerRequestContext[dict[str, Any], Any]

MOST = 100
"""Values of one answer, says the protocol."""


class Completions:
    """Answers ``completion/complete``."""

    def __init__(self, runs: Runs, toolbox: ToolboxNow) -> None:
        self._runs = runs
        self._toolbox = toolbox

    async def complete(self, ctx: Context, params: CompleteRequestParams) -> CompleteResult:
        typed, argument = params.argument.value, params.argument.name
        named = params.ref.name if isinstance(params.ref, PromptReference) else params.ref.uri
        match (named, argument):
            case (str() as uri, "name") if uri == WORKFLOW_TEMPLATE:
                return _answer([name for name in self._toolbox().definitions if name.startswith(typed)])
            case (str() as uri, "run_id") if uri == RUN_TEMPLATE:
                return _answer(await self._ids(ctx, typed, "any"))
            case (str() as uri, "run_id") if uri == RESULT_TEMPLATE:
                return _answer(await self._ids(ctx, typed, RunStatus.COMPLETED))
            case (str() as name, argument) if (name, argument) == (DIAGNOSE, RUN_ID):
                return _answer(await self._ids(ctx, typed, RunStatus.FAILED, RunStatus.PAUSED))
            case (str() as name, _) if any(prompt.name == name for prompt in PROMPTS):
                return _answer([])
            case _:
                raise MCPError(INVALID_PARAMS, f"Nothing can be completed in {cut(named, 80)}: {cut(argument, 80)}.")

    async def _ids(self, ctx: Context, typed: str, *statuses: str) -> list[str]:
        """Of the newest, and if none of these fits, of all that begin like it."""
        actor = caller_of(ctx).actor
        recent: list[RunView] = []
        for status in statuses:
            recent += (await self._runs.list(RunQuery(status=str(status), actor=actor, limit=MOST))).runs
        recent.sort(key=lambda view: view.created_at, reverse=True)
        fitting = [view.run_id for view in recent if view.run_id.startswith(typed)]
        return fitting or list(await self._runs.find(typed, actor=actor))


def _answer(values: list[str]) -> CompleteResult:
    return CompleteResult(completion=Completion(values=values[:MOST], has_more=len(values) > MOST))
