"""The MCP server over ``Runs``: which tools there are, who calls them, and what happens when they change.

Built on the SDK's low-level ``Server``: the tools are those of the catalog and not of decorated functions.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp_types import CallToolRequestParams, ListToolsResult, NotificationParams, PaginatedRequestParams

from mcp_workflows import __version__
from mcp_workflows.access.rate import Rate
from mcp_workflows.clock import Clock, utc_now
from mcp_workflows.definition.model.fields import BUILT_IN_TOOLS
from mcp_workflows.definition.program import Definition
from mcp_workflows.errors import SystemUnwell
from mcp_workflows.mcp_server.authoring.toolset import Authoring
from mcp_workflows.mcp_server.caching import CACHE_HINTS
from mcp_workflows.mcp_server.caller import Caller, caller_of
from mcp_workflows.mcp_server.completions import Completions
from mcp_workflows.mcp_server.gate import Gate
from mcp_workflows.mcp_server.instructions import instructions
from mcp_workflows.mcp_server.pages import page_of
from mcp_workflows.mcp_server.people.person import KEY_PURPOSE, People, Person, seal
from mcp_workflows.mcp_server.prompts import CHECKED_BY_HAND, Prompts
from mcp_workflows.mcp_server.resources.handlers import Resources
from mcp_workflows.mcp_server.subscriptions.announcer import Announcer
from mcp_workflows.mcp_server.tasks import CHANGING, EXTENSION, Tasks, declares
from mcp_workflows.mcp_server.tools.answers import Answer, refusal
from mcp_workflows.mcp_server.tools.arguments import ArgumentsRefused, check_readable
from mcp_workflows.mcp_server.tools.built_in import Arguments, offered
from mcp_workflows.mcp_server.tools.calls import Calls
from mcp_workflows.mcp_server.tools.discovery import DISCOVERY_TOOLS, MAX_TOOLS, Discovery
from mcp_workflows.mcp_server.tools.naming import Naming
from mcp_workflows.mcp_server.tools.run_tools import RUN_TOOLS
from mcp_workflows.mcp_server.tools.toolbox import Toolbox
from mcp_workflows.mcp_server.views import refusals
from mcp_workflows.mcp_server.views.waits import NOT_HERE, Ways
from mcp_workflows.runtime.runs import Runs

logger = logging.getLogger(__name__)

Context = ServerRequestContext[dict[str, Any], Any]


class WorkflowServer(Server[dict[str, Any]]):
    """Serves one node's workflows to any number of clients, over any transport.

    ``ways`` is how a person can answer: where its runs are kept, as commands for them must say, and the page, while one is
    served; ``rate`` is how often an actor may ask.
    """

    def __init__(
        self, runs: Runs, *, ways: Ways = NOT_HERE, rate: Rate | None = None,
        max_tools: int = MAX_TOOLS, tool_prefix: str = "", authoring: Authoring | None = None,
        clock: Clock = utc_now,
    ) -> None:  # fmt: skip
        self._announcer = Announcer(lambda ctx: caller_of(ctx).named)
        self.runs = runs
        self._calls = Calls(runs, clock, ways)
        self._max_tools = max_tools
        self._built_in = [*offered(RUN_TOOLS, self._calls), *(authoring.tools if authoring is not None else ())]
        self._searching = offered(DISCOVERY_TOOLS, Discovery(lambda: self._toolbox.definitions, self._start_found))
        self._toolbox = self._made()
        self._resources = Resources(runs, self._announcer, lambda: self._toolbox, authoring)
        self._prompts = Prompts(
            runs, clock, ways, checking=authoring.checking if authoring is not None else CHECKED_BY_HAND
        )
        self._completions = Completions(runs, lambda: self._toolbox)
        self.stopping = asyncio.Event()
        """Set once the service is about to go: streams that nothing else would end are to end."""
        super().__init__(
            "mcp-workflows",
            version=__version__,
            title="Durable workflows",
            instructions=instructions(searched=self._toolbox.searched),
            on_list_tools=self._list_tools,
            cache_hints=CACHE_HINTS,
            on_list_resources=self._resources.list,
            on_list_resource_templates=self._resources.templates,
            on_read_resource=self._resources.read,
            on_subscribe_resource=self._resources.subscribe,
            on_unsubscribe_resource=self._resources.unsubscribe,
            on_list_prompts=self._prompts.list,
            on_get_prompt=self._prompts.get,
            on_completion=self._completions.complete,
            on_subscriptions_listen=self._announcer.on_listen,
            # Without it the SDK has all tools listed before each call over HTTP, to look up this one's.
            get_tool_input_schema=lambda name: self._toolbox.input_schema(name.removeprefix(tool_prefix)),
        )
        self.add_request_handler("tools/call", CallToolRequestParams, self._call_tool)
        self.add_notification_handler("notifications/initialized", NotificationParams, self._announcer.on_initialized)
        self._gate = Gate(rate, CHANGING)
        self.middleware.append(self._gate)
        self.middleware.append(seal(runs.key(KEY_PURPOSE), lambda ctx: caller_of(ctx).actor))
        if tool_prefix:
            self.middleware.append(Naming(tool_prefix, BUILT_IN_TOOLS))
        self._people = People(runs, self._announcer, partial(ways.page, runs))
        self._tasks = Tasks(runs, self._calls, self._people, lambda: self._toolbox, clock)
        self._tasks.install(self, self._announcer)
        runs.catalog.on_change(self._definitions_changed)

    @property
    def sessions(self) -> int:
        """How many clients of the handshake era are connected."""
        return self._announcer.sessions

    @property
    def following(self) -> int:
        """How many things their clients follow by name."""
        return self._announcer.following

    @property
    def waiting(self) -> int:
        """How many calls wait for their runs."""
        return self._calls.waiting

    async def stop(self) -> None:
        """Answer the calls that wait, and end the streams: the service is about to go."""
        self.stopping.set()
        self._announcer.close()
        await self._calls.stop()

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        """As the SDK makes them, saying which lists may change. The handshake era knows no tasks."""
        options = notification_options or NotificationOptions(tools_changed=True, resources_changed=True)
        served = {name: told for name, told in self.extensions.items() if name != EXTENSION}
        return super().create_initialization_options(options, experimental_capabilities, extensions or served)

    def _made(self) -> Toolbox:
        definitions = self.runs.catalog.definitions
        return Toolbox(definitions, max_tools=self._max_tools, built_in=self._built_in, searching=self._searching)

    def _definitions_changed(self) -> None:
        before, self._toolbox = self._toolbox, self._made()
        self.instructions = instructions(searched=self._toolbox.searched)
        if not self._toolbox.same_tools(before):
            self._announcer.list_changed("tools")
        if not self._toolbox.same_workflows(before):
            self._announcer.list_changed("resources")

    async def _list_tools(self, _ctx: Context, params: PaginatedRequestParams | None) -> ListToolsResult:
        page, following = page_of(self._toolbox.tools, lambda tool: tool.name, params, listed="tools/list")
        return ListToolsResult(tools=page, next_cursor=following)

    async def _call_tool(self, ctx: Context, params: CallToolRequestParams) -> Answer:
        caller = caller_of(ctx)
        try:
            if refused := self._gate.too_many(caller):
                return refusal(refused)
            caller.person = self._person(ctx, params, caller) if caller.may_act else None
            caller.takes_tasks = declares(ctx)
            return await self._call(params.name, params.arguments or {}, caller)
        except SystemUnwell as unwell:
            return refusal(refusals.unwell(unwell, discreet=caller.is_outside))
        except Exception:  # a defect must not take the connection down, nor show itself to the caller
            logger.exception("the call of %r failed", params.name)
            return refusal(refusals.internal(params.name))

    def _person(self, ctx: Context, params: CallToolRequestParams, caller: Caller) -> Person | None:
        return self._people.at(ctx, params, caller.actor, known=caller.principal is not None)

    async def _call(self, name: str, arguments: Arguments, caller: Caller) -> Answer:
        built_in, definition = self._toolbox.built_in(name), self._toolbox.definition(name)
        try:
            check_readable(arguments)
        except ArgumentsRefused as refused:
            return refusal(refusals.arguments_refused(str(refused)) if built_in else refusals.start_refused(refused))
        if built_in is not None:
            return await built_in.call(arguments, caller)
        if definition is None:
            return refusal(refusals.not_served(name, self._toolbox.names, self.runs.catalog.problems, tool=True))
        return await self._start(definition, arguments, caller)

    async def _start_found(self, name: str, given: Arguments, caller: Caller) -> Answer:
        """A workflow by its name, whether it is a tool or not."""
        definition = self._toolbox.definition(name)
        if definition is None:
            names = list(self._toolbox.definitions)
            return refusal(refusals.not_served(name, names, self.runs.catalog.problems, tool=False))
        return await self._start(definition, given, caller)

    async def _start(self, definition: Definition, given: Arguments, caller: Caller) -> Answer:
        starting = self._tasks.call if caller.takes_tasks else self._calls.start
        try:
            return await starting(definition, self._toolbox, given, caller)
        except SystemUnwell as unwell:
            return refusal(refusals.unwell(unwell, discreet=caller.is_outside, starting=True))
