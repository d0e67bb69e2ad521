"""``serve``: the MCP server, on stdio for a client that starts it, or over HTTP for those that find it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from types import FrameType
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel

from mcp_workflows.access.links import PURPOSE as LINKS_PURPOSE
from mcp_workflows.access.links import Links
from mcp_workflows.access.rate import Rate
from mcp_workflows.app import App, open_app, spare_collector, verifier_of
from mcp_workflows.cli.command import command
from mcp_workflows.cli.exits import Exit
from mcp_workflows.cli.given import load_settings
from mcp_workflows.cli.options import Database
from mcp_workflows.cli.terminal import stderr
from mcp_workflows.clock import utc_now
from mcp_workflows.definition.phrases import listed
from mcp_workflows.definition.program import Definition
from mcp_workflows.errors import InputRefused
from mcp_workflows.mcp_server.authoring.toolset import Authoring
from mcp_workflows.mcp_server.server import WorkflowServer
from mcp_workflows.mcp_server.transport.authentication import Authentication
from mcp_workflows.mcp_server.transport.connections import Bounds, room_beside
from mcp_workflows.mcp_server.transport.http import MCP_PATH, base_url, listen, serve_http
from mcp_workflows.mcp_server.transport.stdio import serve_stdio
from mcp_workflows.mcp_server.views.waits import Ways
from mcp_workflows.settings import PREFIX, Settings
from mcp_workflows.web.pages import Pages

_LONGEST: Final = 80
"""Characters that are told of a workflow."""
_FILES: Final = 256
"""That the process has open beside connections and attempts: the database, definitions, pipes; and some to spare."""


@command
async def serve(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATH", help="Files and folders with definitions. Default: ./definitions"),
    ] = None,
    http: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Serve over HTTP, at /mcp, instead of stdio. Port 0: any free one."),
    ] = None,
    database: Database = None,
) -> Exit:
    """Serve every workflow as an MCP tool, on stdio (default) or over HTTP.

    On stdio nothing but the protocol is written to stdout; logs go to stderr.
    """
    address = None if http is None else _address(http)
    _check_given(paths or ())
    settings = load_settings(paths, database, logs="info")
    stop = _on_signals()
    if address is None:
        async with open_app(settings) as app:
            spare_collector()
            ways = Ways(app.settings.database_option, ends_with_client=True)
            await serve_stdio(_server(app, ways, _rate(settings)), stop=stop)
        return Exit.DONE
    # The address is taken first: a run that goes on at once may tell a service where to call.
    with closing(listen(*address, authenticated=settings.authenticates)) as listener:
        served_at = base_url(address[0], listener)
        async with open_app(settings, served_at=served_at) as app, _authentication(settings, served_at) as who:
            spare_collector()
            links = Links(app.runs.key(LINKS_PURPOSE), settings.public_url or served_at)
            rate = _rate(settings)
            await serve_http(
                _server(app, Ways(app.settings.database_option, links), rate),
                *address,
                stop=stop,
                allowed_hosts=settings.server_allowed_hosts,
                allowed_origins=settings.server_allowed_origins,
                public_host=settings.public_host,
                authentication=who,
                pages=Pages(app.runs, links, who and who.verifier, utc_now, rate).app(),
                listener=listener,
                bounds=Bounds(most=min(settings.max_connections, room_beside(settings.max_attempts + _FILES))),
                listening=lambda url: _welcome(app, url, stderr()),
            )
    return Exit.DONE


def _rate(settings: Settings) -> Rate | None:
    return Rate(settings.max_calls_per_minute) if settings.max_calls_per_minute else None


def _server(app: App, ways: Ways, rate: Rate | None) -> WorkflowServer:
    return WorkflowServer(
        app.runs,
        ways=ways,
        rate=rate,
        max_tools=app.settings.max_tools,
        tool_prefix=app.settings.tool_prefix,
        authoring=Authoring(app.catalog, app.settings.authoring_folder) if app.settings.authoring else None,
    )


@asynccontextmanager
async def _authentication(settings: Settings, served_at: str) -> AsyncGenerator[Authentication | None]:
    resource = f"{settings.public_url or served_at}{MCP_PATH}"
    verifier = verifier_of(settings, resource)
    if verifier is None:
        yield None
        return
    try:
        yield Authentication(verifier, resource, settings.auth_issuer)
    finally:
        await verifier.close()


def _address(text: str) -> tuple[str, int]:
    """Host, an IPv6 address without its brackets, and port."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = ("127.0.0.1", text) if text.isdecimal() else (text, "8911")
    in_brackets = host.startswith("[") and host.endswith("]")
    named = colon or text.isdecimal() or "." in text or text == "localhost"  # a bare word is rather a mistake
    if not named or (":" in host and not in_brackets) or not port.isdecimal() or int(port) > 65535:
        raise typer.BadParameter(
            f'"{text}": write HOST:PORT, such as 127.0.0.1:8911 or [::1]:8911', param_hint="--http"
        )
    return host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)


def _check_given(paths: Sequence[Path]) -> None:
    """What was named and is not there is a mistake; the default folder may come later. Raises ``InputRefused``."""
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise InputRefused(f"There is no {listed(missing, 'or')}. Name files or folders with definitions.")


def _on_signals() -> asyncio.Event:
    """An event that SIGTERM or Ctrl-C sets, so that runs are handed over before the process ends."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def handler(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(stop.set)

    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:  # Windows: the interpreter's own handler, from which no await can be woken
            signal.signal(number, handler)
    return stop


def _told_of(definition: Definition) -> str:
    said = definition.title or " ".join(definition.description.split())
    return said if len(said) <= _LONGEST else f"{said[: _LONGEST - 1]}…"


def _welcome(app: App, url: str, console: Console) -> None:
    """What a person who started the server by hand wants to know. ``url``: where it listens."""
    settings, definitions = app.settings, app.catalog.definitions
    known_as = f"{settings.public_url}{MCP_PATH}" if settings.public_url and settings.authenticates else url
    lines = [f"[name]{url}[/]", f"[dim]runs are kept in {escape(settings.database_place)}[/]", ""]
    for name, definition in definitions.items():
        lines.append(f"[good]●[/] [name]{name}[/]  {escape(_told_of(definition))}")
        if lacking := [f"{PREFIX}SECRET_{one}" for one in definition.secrets if settings.secret(one) is None]:
            lines[-1] = f"[doubt]●[/] [name]{name}[/]  [doubt]cannot run without {', '.join(lacking)}[/]"
    if not definitions:
        places = ", ".join(map(str, settings.definitions))
        lines.append(f"[doubt]no workflows yet[/]: put a .yaml file into {escape(places)}; it is picked up at once")
    if broken := {problem.file for problem in app.catalog.problems}:
        lines.append(f"[bad]●[/] {len(broken)} broken: mcp-workflows validate {escape(' '.join(sorted(broken)))}")
    lines += [
        "",
        "[dim]add it to a client[/]",
        f"  claude mcp add --transport http workflows {known_as}",
        f'  code --add-mcp \'{{"name":"workflows","type":"http","url":"{known_as}"}}\'',
        f"  npx @modelcontextprotocol/inspector --cli {known_as} --method tools/list",
        "",
    ]
    if settings.tokens is not None:
        lines += [
            "[dim]with the header[/] Authorization: Bearer mcpw_…  [dim]each actor's from[/] mcp-workflows token",
            "",
        ]
    lines += [
        "[dim]Ctrl-C stops it; runs go on at the next start[/]",
    ]
    if console.is_terminal:
        console.print(Panel("\n".join(lines), title="mcp-workflows", expand=False, border_style="dim", padding=(1, 2)))
    else:
        console.print("\n".join(lines), soft_wrap=True)
