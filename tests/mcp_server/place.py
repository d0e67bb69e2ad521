"""A whole installation for a test: sample services, definitions in a folder, a database file, a node, an MCP server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcp import Client
from mcp_types import CallToolResult, TextContent

from mcp_workflows.app import App, open_app
from mcp_workflows.mcp_server.authoring.toolset import Authoring
from mcp_workflows.mcp_server.server import WorkflowServer
from mcp_workflows.mcp_server.transport.http import serve_http
from mcp_workflows.mcp_server.views.waits import Ways
from mcp_workflows.samples.server import World, serving
from mcp_workflows.samples.services import variables
from mcp_workflows.settings import Settings

EXAMPLES = Path(__file__).parents[2] / "examples"
SAGA = (EXAMPLES / "saga_order_fulfillment.yaml").read_text("utf-8")

TRANSPORTS = ("in process, 2026", "in process, 2025", "http, 2026", "http, 2025")
"""Both ways to a server in this process, in both eras of the protocol."""


@dataclass
class Place:
    folder: Path
    world: World
    app: App
    server: WorkflowServer
    urls: Mapping[str, str]
    """Of the services."""

    def define(self, name: str, text: str) -> None:
        (self.folder / "definitions" / f"{name}.yaml").write_text(text, "utf-8")

    async def called(self, path: str, times: int = 1) -> None:
        """Once a service has been asked for ``path`` so many times."""
        async with asyncio.timeout(20):
            while True:
                log = self.world.calls.to_json()
                if sum(call["path"] == path for call in log["calls"]) >= times:
                    return
                await self.world.calls.wait(log["version"], 20)

    def times_called(self, path: str) -> int:
        return sum(call["path"] == path for call in self.world.calls.to_json()["calls"])

    def keys_of(self, path: str) -> list[str]:
        return [call["key"] for call in self.world.calls.to_json()["calls"] if call["path"] == path]

    @asynccontextmanager
    async def client(self, transport: str, **options: Any) -> AsyncGenerator[Client]:
        """The official client, connected as ``transport`` says."""
        way, era = transport.split(", ")
        mode = "auto" if era == "2026" else "legacy"
        try:
            if way == "in process":
                async with Client(self.server, mode=mode, **options) as client:
                    yield client
            else:
                async with self.listening() as url, Client(url, mode=mode, **options) as client:
                    yield client
        except BaseExceptionGroup as group:
            raise _innermost(group) from None  # what failed, and not the tasks of the client around it

    @asynccontextmanager
    async def listening(self, **options: Any) -> AsyncGenerator[str]:
        """The URL of the server's endpoint over HTTP. ``options`` are those of ``serve_http``."""
        stop = asyncio.Event()
        url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(
            serve_http(self.server, "127.0.0.1", 0, stop=stop, listening=url.set_result, **options)
        )
        try:
            yield await url
        finally:
            stop.set()
            await serving


@asynccontextmanager
async def place(folder: Path, definitions: Mapping[str, str], **options: Any) -> AsyncGenerator[Place]:
    """``definitions`` are texts by name; their services are the samples, which run too. ``options`` are settings."""
    (folder / "definitions").mkdir(exist_ok=True)
    for name, text in definitions.items():
        (folder / "definitions" / f"{name}.yaml").write_text(text, "utf-8")
    async with serving({}) as (world, urls), installed(folder, urls, **options) as app:
        settings = app.settings
        server = WorkflowServer(
            app.runs,
            ways=Ways(str(settings.database_file)),
            max_tools=settings.max_tools,
            tool_prefix=settings.tool_prefix,
            authoring=Authoring(app.catalog, settings.authoring_folder) if settings.authoring else None,
        )
        yield Place(folder, world, app, server, urls)


@asynccontextmanager
async def installed(folder: Path, urls: Mapping[str, str], **options: Any) -> AsyncGenerator[App]:
    given = {"database_url": f"sqlite:///{folder / 'runs.db'}", **options}
    settings = Settings.load(definitions=(folder / "definitions",), vars=variables(urls), **given)
    async with open_app(settings) as app:
        yield app


def _innermost(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _innermost(first) if isinstance(first, BaseExceptionGroup) else first  # pyright: ignore[reportUnknownArgumentType]


def edited(text: str, *changes: tuple[str, str]) -> str:
    """A definition with some lines changed; each change must hit exactly once."""
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def text_of(result: CallToolResult) -> str:
    """The one text of a result: there is never another block."""
    assert len(result.content) == 1
    block = result.content[0]
    assert isinstance(block, TextContent)
    return block.text


def told(result: CallToolResult) -> dict[str, Any]:
    """The run object of a result, which must be the same in both forms."""
    assert json.loads(text_of(result)) == result.structured_content
    return dict(result.structured_content)


def refused(result: CallToolResult) -> str:
    """The text of a refusal: an error whose text is all there is."""
    assert result.is_error
    assert result.structured_content is None
    text = text_of(result)
    assert len(text) <= 600
    return text


async def until(condition: Callable[[], bool], changed: Callable[[], Any]) -> None:
    """Await ``changed`` again and again until ``condition`` holds; at most 20 seconds."""
    async with asyncio.timeout(20):
        while not condition():
            await changed()


MODERN = [transport for transport in TRANSPORTS if transport.endswith("2026")]

LEGACY = [transport for transport in TRANSPORTS if transport.endswith("2025")]
