"""Streamable HTTP: the ASGI app with ``/mcp``, ``/callbacks/`` and ``/healthz``, and serving it until told to stop."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import uvicorn
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp

from mcp_workflows.access.links import PATH as PAGES_PATH
from mcp_workflows.errors import SettingsInvalid
from mcp_workflows.mcp_server.server import WorkflowServer
from mcp_workflows.mcp_server.transport.authentication import Authentication
from mcp_workflows.mcp_server.transport.bodies import OneLength, WholeRequests
from mcp_workflows.mcp_server.transport.callbacks import callback_route
from mcp_workflows.mcp_server.transport.connections import Bounds, Connection, watch
from mcp_workflows.mcp_server.transport.departure import EndStreams, LastAnswers, Uvicorn
from mcp_workflows.mcp_server.transport.health import Health
from mcp_workflows.mcp_server.transport.hosts import KnownHosts
from mcp_workflows.mcp_server.transport.sessions import Sessions

MCP_PATH = "/mcp"
MAX_REQUEST_BYTES = 4 * 1024 * 1024
"""Of one HTTP request. Above the 1 MiB that an input may have, so that a large input gets an answer that explains."""

_BACKLOG = 2048
_BOUNDS = Bounds()
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def http_app(
    server: WorkflowServer,
    *,
    allowed_hosts: Sequence[str] = (),
    allowed_origins: Sequence[str] = (),
    public_host: str | None = None,
    authentication: Authentication | None = None,
    pages: ASGIApp | None = None,
    most_each: int = _BOUNDS.most_each,
) -> Starlette:
    """The app of this server; its lifespan must run.

    ``allowed_hosts`` are names of the Host header that are accepted besides the loopback's, with any port or with the
    one given; ``allowed_origins`` are origins of browser pages besides those of these hosts. Services call back at
    ``public_host`` too, and where clients have to authenticate, they may call there as well.
    ``pages`` are those of people, below ``PAGES_PATH``. ``most_each``: requests of one actor at the same time.
    """
    hosts = [*_LOOPBACK, *allowed_hosts]
    if authentication is not None and public_host is not None:
        hosts.append(public_host)
    origins = [f"{scheme}://{host}" for host in hosts for scheme in ("http", "https")] + list(allowed_origins)
    routes = [Route("/healthz", Health(server, discreet=authentication is not None).answer, methods=["GET"])]
    called_at = [*hosts, public_host] if public_host else hosts
    if server.runs.callbacks is not None:
        routes.append(callback_route(server.runs, server.runs.callbacks, called_at))
    app = server.streamable_http_app(
        streamable_http_path=MCP_PATH,
        max_request_body_size=MAX_REQUEST_BYTES,
        transport_security=TransportSecuritySettings(
            allowed_hosts=_with_any_port(hosts), allowed_origins=_with_any_port(origins)
        ),
        custom_starlette_routes=routes,
    )
    # Only what is asked of /mcp: the token of a service that calls back is none of ours, and goes nowhere.
    app.router.routes = [_guarded(route, authentication, most_each) for route in app.router.routes]
    if authentication is not None:
        app.router.routes += authentication.routes()
    if pages is not None:
        app.router.routes.append(Mount(PAGES_PATH.rstrip("/"), KnownHosts(pages, called_at)))
    app.add_middleware(EndStreams, stopping=server.stopping)
    app.add_middleware(OneLength)
    app.add_middleware(LastAnswers, stopping=server.stopping)
    return app


async def serve_http(
    server: WorkflowServer,
    host: str,
    port: int,
    *,
    stop: asyncio.Event,
    allowed_hosts: Sequence[str] = (),
    allowed_origins: Sequence[str] = (),
    public_host: str | None = None,
    authentication: Authentication | None = None,
    pages: ASGIApp | None = None,
    listener: socket.socket | None = None,
    listening: Callable[[str], None] = lambda url: None,  # noqa: ARG005
    bounds: Bounds = _BOUNDS,
) -> None:
    """Serve until ``stop`` is set. ``listening`` is called with the URL of the endpoint once it accepts connections.

    ``host``: an IPv6 address without brackets. ``listener`` is what ``listen`` gave, where the address had to be known
    before. ``bounds`` are those of connections.

    Raises:
        SettingsInvalid: The address is not this machine's own, or cannot be bound.
    """
    listener = listener or listen(host, port, authenticated=authentication is not None)
    app = http_app(
        server, allowed_hosts=[*allowed_hosts, _in_url(host)], allowed_origins=allowed_origins, public_host=public_host,
        authentication=authentication, pages=pages, most_each=bounds.most_each,
    )  # fmt: skip
    protocol: Any = partial(Connection, bounds=bounds)
    config = uvicorn.Config(
        app, host=host, port=port, http=protocol, log_config=None, access_log=False, server_header=False, ws="none",
        lifespan="on", proxy_headers=False, timeout_graceful_shutdown=1,
    )  # fmt: skip
    uvicorn_server = Uvicorn(config)
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(uvicorn_server.serve(sockets=[listener]))
        listening(f"{base_url(host, listener)}{MCP_PATH}")
        stopped = tasks.create_task(stop.wait())
        watching = tasks.create_task(watch(uvicorn_server.server_state.connections, bounds))
        await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        watching.cancel()
        uvicorn_server.let_nobody_in()
        await server.stop()
        await uvicorn_server.see_off()
        uvicorn_server.should_exit = True


def is_loopback(host: str) -> bool:
    """Only this machine can reach it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int, *, authenticated: bool = False) -> socket.socket:
    """Takes the address; connections wait until it is served. Raises ``SettingsInvalid`` as ``serve_http`` does.

    ``authenticated``: who asks will have to show a token, so that other machines may reach it.
    """
    if not authenticated and not is_loopback(host):
        raise SettingsInvalid(
            f"{host} can be reached from other machines, and nobody has to authenticate here: whoever reaches it could "
            "start every workflow. Set MCP_WORKFLOWS_TOKENS (docs/authentication.md), or listen on 127.0.0.1."
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise SettingsInvalid(f"Cannot listen on {host}:{port}: {error.strerror or error}.") from error
    return listener


def base_url(host: str, listener: socket.socket) -> str:
    """Of what is served there: ``http://127.0.0.1:8911``."""
    return f"http://{_in_url(host)}:{listener.getsockname()[1]}"


def _in_url(host: str) -> str:
    """As URLs and Host headers have it."""
    return f"[{host}]" if ":" in host else host


def _guarded(route: BaseRoute, authentication: Authentication | None, most_each: int) -> BaseRoute:
    if not isinstance(route, Route) or route.path != MCP_PATH:
        return route
    app = WholeRequests(Sessions(route.app), MAX_REQUEST_BYTES)
    return Route(MCP_PATH, endpoint=app if authentication is None else authentication.guard(app, most=most_each))


def _with_any_port(names: Sequence[str]) -> list[str]:
    """The SDK's pattern ``name:*`` wants a port, and clients leave out the one that goes without saying."""
    return [*names, *(f"{name}:*" for name in names)]
