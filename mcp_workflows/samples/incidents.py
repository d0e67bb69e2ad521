"""An incident desk that is reached over MCP: its tools, and the books that they are about."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, TypeAlias

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ToolAnnotations
from typing_extensions import TypedDict

from mcp_workflows.samples.service import Answer, Ask, Json, Service

ToolContext: TypeAlias = Context[Any, Any]
Do: TypeAlias = Callable[[ToolContext, str, Mapping[str, Json]], Awaitable[Any]]
"""Does the call of a tool, by its name and arguments; what it gives is the tool's answer."""


class Incident(TypedDict):
    """What is known of an incident."""

    id: str
    title: str
    service: str
    severity: Literal["critical", "major", "minor"]
    team: str
    state: str


class Page(TypedDict):
    """Somebody was called."""

    id: str
    incident_id: str
    person: str
    state: str


class StatusUpdate(TypedDict):
    """What stands on the status page."""

    id: str
    incident_id: str
    state: str
    message: str


def incidents() -> Service:
    """Incidents of each severity; pages and status updates as they are asked for. Team ``nobody`` has nobody on call."""
    desk = Service("incidents")
    for number, severity, service, team in (
        (1, "critical", "checkout", "payments"),
        (2, "major", "search", "search"),
        (3, "minor", "newsletter", "marketing"),
        (4, "major", "archive", "nobody"),
    ):
        entry = {"title": f"{service} answers 503", "service": service, "severity": severity, "team": team}
        desk.put("incidents", f"INC-{number}", {**entry, "state": "open"})

    def page(ask: Ask) -> Answer:
        if ask.body["team"] == "nobody":
            return Answer(422, {"error": "team nobody has no rota"})
        entry = {"incident_id": ask.body["incident_id"], "person": f"oncall@{ask.body['team']}.example"}
        return Answer(201, desk.add("pages", "pg", {**entry, "state": "acknowledged"}))

    def resolve(ask: Ask) -> Answer:
        return desk.change("incidents", ask.body["incident_id"], state="resolved")

    def retract(ask: Ask) -> Answer:
        return desk.change("updates", ask.body["update_id"], state="retracted")

    desk.route("CALL", "get_incident", lambda ask: desk.shown("incidents", ask.body["incident_id"]))
    desk.route("CALL", "page_oncall", page)
    desk.route("CALL", "cancel_page", lambda ask: desk.change("pages", ask.body["page_id"], state="cancelled"))
    desk.route("CALL", "post_status_update", lambda ask: Answer(201, desk.add("updates", "su", ask.body)))
    desk.route("CALL", "retract_status_update", retract)
    desk.route("CALL", "resolve_incident", resolve)
    return desk


class IncidentTools:
    """The tools of the desk, each done by ``do``. Their docstrings are what clients read."""

    def __init__(self, do: Do) -> None:
        self._do = do

    async def get_incident(self, incident_id: str, ctx: ToolContext) -> Incident:
        """What is known of an incident."""
        return await self._do(ctx, "get_incident", {"incident_id": incident_id})

    async def page_oncall(self, team: str, incident_id: str, message: str, ctx: ToolContext) -> Page:
        """Calls whoever is on call in a team, day or night."""
        page = {"team": team, "incident_id": incident_id, "message": message}
        return await self._do(ctx, "page_oncall", page)

    async def cancel_page(self, page_id: str, ctx: ToolContext) -> Page:
        """Tells whoever was called that it was nothing."""
        return await self._do(ctx, "cancel_page", {"page_id": page_id})

    async def post_status_update(self, incident_id: str, state: str, message: str, ctx: ToolContext) -> StatusUpdate:
        """Puts a message on the public status page."""
        update = {"incident_id": incident_id, "state": state, "message": message}
        return await self._do(ctx, "post_status_update", update)

    async def retract_status_update(self, update_id: str, ctx: ToolContext) -> StatusUpdate:
        """Takes a message off the public status page."""
        return await self._do(ctx, "retract_status_update", {"update_id": update_id})

    async def resolve_incident(self, incident_id: str, ctx: ToolContext) -> Incident:
        """Marks an incident as resolved."""
        return await self._do(ctx, "resolve_incident", {"incident_id": incident_id})


def incident_server(do: Do) -> MCPServer[Any]:
    """The MCP server of the desk."""
    about = "Incidents, the on-call rota and the status page."
    server = MCPServer("incidents", instructions=about, log_level="WARNING")
    tools = IncidentTools(do)
    server.add_tool(tools.get_incident, annotations=ToolAnnotations(read_only_hint=True))
    server.add_tool(tools.page_oncall)
    server.add_tool(tools.cancel_page)
    server.add_tool(tools.post_status_update)
    server.add_tool(tools.retract_status_update)
    server.add_tool(tools.resolve_incident)
    return server
