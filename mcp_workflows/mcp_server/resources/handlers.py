"""Resources: the workflows that agents may know of, and the caller's own runs.

A run that is not the caller's, one that is not there, and an address that leads nowhere are told in the same words.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    Annotations,
    EmptyResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    SubscribeRequestParams,
    TextResourceContents,
    UnsubscribeRequestParams,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from mcp_workflows.definition.program import Definition
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.errors import UnknownRun
from mcp_workflows.mcp_server.authoring.toolset import Authoring
from mcp_workflows.mcp_server.caching import WHILE_THEY_LAST
from mcp_workflows.mcp_server.caller import caller_of
from mcp_workflows.mcp_server.pages import page_of
from mcp_workflows.mcp_server.resources.subjects import ResultSubject, RunSubject, WorkflowSubject
from mcp_workflows.mcp_server.subscriptions.announcer import RESOURCES, Announcer
from mcp_workflows.mcp_server.subscriptions.listener import Topic
from mcp_workflows.mcp_server.tools.toolbox import ToolboxNow
from mcp_workflows.mcp_server.views.trace_document import trace_bounded
from mcp_workflows.mcp_server.views.uris import (
    RESULT_TEMPLATE,
    RUN_TEMPLATE,
    WORKFLOW_TEMPLATE,
    RunAddress,
    WorkflowAddress,
    read_uri,
    run_uri,
    workflow_uri,
)
from mcp_workflows.mcp_server.views.wording import cut, instant
from mcp_workflows.mcp_server.views.workflow_document import workflow_document
from mcp_workflows.runtime.runs import Runs
from mcp_workflows.runtime.views import RunQuery, RunView

Context = ServerRequestContext[dict[str, Any], Any]

RECENT = 100
"""Runs that are listed, the newest: whoever walks through all pages is not to walk through all runs there ever were."""
NOT_FOUND_BEFORE_2026 = -32002

_MARKDOWN, _JSON = "text/markdown", "application/json"
_LONGEST_DESCRIPTION = 300

_TEMPLATES = [
    ResourceTemplate(
        uri_template=WORKFLOW_TEMPLATE,
        name="workflow",
        title="A workflow",
        description="What it does, its input and result as JSON Schema, its steps as a Mermaid flowchart.",
        mime_type=_MARKDOWN,
    ),
    ResourceTemplate(
        uri_template=RUN_TEMPLATE,
        name="run",
        title="A run",
        description="Everything recorded of one of your runs: steps, failed attempts, messages.",
        mime_type=_JSON,
    ),
    ResourceTemplate(
        uri_template=RESULT_TEMPLATE,
        name="result",
        title="The result of a run",
        description="The whole result of one of your runs that has completed, however large.",
        mime_type=_JSON,
    ),
]


class Resources:
    """Lists, reads and offers them for listening. ``toolbox`` is asked for what is served at the moment."""

    def __init__(
        self, runs: Runs, announcer: Announcer, toolbox: ToolboxNow, authoring: Authoring | None = None
    ) -> None:
        self._runs = runs
        self._announcer = announcer
        self._toolbox = toolbox
        self._authoring = authoring
        announcer.offer(RESOURCES, self._subject)

    async def list(self, ctx: Context, params: PaginatedRequestParams | None) -> ListResourcesResult:
        """Workflows by name, then the caller's recent runs, the newest first."""
        query = RunQuery(status="any", actor=caller_of(ctx).actor, limit=RECENT)
        runs = (await self._runs.list(query)).runs
        documents = self._authoring.resources if self._authoring is not None else ()
        found = [*documents, *map(_workflow, self._shown().values()), *map(_run, runs)]
        page, following = page_of(found, lambda one: one.uri, params, listed="resources/list")
        return ListResourcesResult(resources=page, next_cursor=following)

    async def templates(self, _ctx: Context, params: PaginatedRequestParams | None) -> ListResourceTemplatesResult:
        page, following = page_of(_TEMPLATES, lambda one: one.uri_template, params, listed="resources/templates/list")
        return ListResourceTemplatesResult(resource_templates=page, next_cursor=following)

    async def read(self, ctx: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
        uri = params.uri
        if self._authoring is not None and (document := self._authoring.read(uri)) is not None:
            return _contents(uri, *document, ttl_ms=WHILE_THEY_LAST)
        try:
            match read_uri(uri):
                case WorkflowAddress(name) if name in self._shown():
                    return _contents(uri, self._workflow(name), _MARKDOWN, ttl_ms=WHILE_THEY_LAST)
                case RunAddress(run_id, result=True):
                    return await self._result(uri, run_id, caller_of(ctx).sees)
                case RunAddress(run_id):
                    return await self._trace(uri, run_id, caller_of(ctx).sees)
                case _:
                    raise not_found(ctx, uri)
        except UnknownRun:
            raise not_found(ctx, uri) from None

    async def subscribe(self, ctx: Context, params: SubscribeRequestParams) -> EmptyResult:
        """Of the handshake era."""
        if not await self._announcer.subscribe(ctx, params.uri):
            raise not_found(ctx, params.uri)
        return EmptyResult()

    async def unsubscribe(self, ctx: Context, params: UnsubscribeRequestParams) -> EmptyResult:
        await self._announcer.unsubscribe(ctx, params.uri)
        return EmptyResult()

    def _shown(self) -> Mapping[str, Definition]:
        return self._toolbox().definitions

    def _subject(self, ctx: Context, uri: str) -> Topic | None:
        match read_uri(uri):
            case WorkflowAddress(name):
                return WorkflowSubject(uri, name, self._runs.catalog, self._shown)
            case RunAddress(run_id, result=True):
                return ResultSubject(uri, run_id, self._runs, caller_of(ctx).sees)
            case RunAddress(run_id):
                return RunSubject(uri, run_id, self._runs, caller_of(ctx).sees)
            case _:
                return None

    def _workflow(self, name: str) -> str:
        served = self._runs.catalog.serving(name)
        return workflow_document(served.definition, served.version, self._toolbox().how_to_start(name))

    async def _trace(self, uri: str, run_id: str, actor: str | None) -> ReadResourceResult:
        trace = await self._runs.trace(run_id, actor=actor)
        return _contents(
            uri, await asyncio.to_thread(lambda: json.dumps(trace_bounded(trace), ensure_ascii=True)), _JSON
        )

    async def _result(self, uri: str, run_id: str, actor: str | None) -> ReadResourceResult:
        view = await self._runs.get(run_id, actor=actor)
        if view.status is not RunStatus.COMPLETED:
            raise MCPError(
                INVALID_PARAMS, f"{view.run_id} is {view.status} and has no result. Read {run_uri(view.run_id)}."
            )
        return _contents(uri, json.dumps(view.result, ensure_ascii=True), _JSON)


def not_found(ctx: Context, uri: str) -> MCPError:
    """In the code of the era that the client speaks."""
    code = INVALID_PARAMS if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS else NOT_FOUND_BEFORE_2026
    return MCPError(code, f"No resource {cut(uri, 100)} that you may see.", {"uri": cut(uri, 100)})


def _contents(uri: str, text: str, mime_type: str, *, ttl_ms: int | None = None) -> ReadResourceResult:
    contents = [TextResourceContents(uri=uri, text=text, mime_type=mime_type)]
    if ttl_ms is None:  # of one's own runs, which move
        return ReadResourceResult(contents=[*contents])
    return ReadResourceResult(contents=[*contents], ttl_ms=ttl_ms, cache_scope="public")


def _workflow(definition: Definition) -> Resource:
    return Resource(
        uri=workflow_uri(definition.name),
        name=definition.name,
        title=definition.title,
        description=cut(definition.description.strip(), _LONGEST_DESCRIPTION),
        mime_type=_MARKDOWN,
    )


def _run(view: RunView) -> Resource:
    changed_at = view.finished_at or view.started_at or view.created_at
    return Resource(
        uri=run_uri(view.run_id),
        name=view.run_id,
        title=f"{view.workflow}: {view.status}",
        description=f"Version {view.version}, started {instant(view.created_at)}.",
        mime_type=_JSON,
        annotations=Annotations(last_modified=instant(changed_at)),
    )
