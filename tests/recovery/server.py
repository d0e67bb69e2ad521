"""A real server process on a real database file, to be started, talked to through MCP, and killed."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from mcp import Client

from tests.mortal import mortal

READY_SECONDS = 30.0


@dataclass
class Place:
    """A folder with definitions and a database, and the processes that serve it."""

    folder: Path
    variables: dict[str, str]
    processes: list[ServerProcess] = field(default_factory=list["ServerProcess"])

    @property
    def database(self) -> Path:
        return self.folder / "runs.db"

    def define(self, name: str, text: str) -> None:
        definitions = self.folder / "definitions"
        definitions.mkdir(exist_ok=True)
        (definitions / f"{name}.yaml").write_text(text, "utf-8")

    async def serve(self, **settings: str) -> ServerProcess:
        """Start a server and wait until it answers."""
        process = ServerProcess(self, _free_port(), settings)
        self.processes.append(process)
        await process.start()
        return process

    def read(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """What the database holds now, read beside any server."""
        connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)
        try:
            return connection.execute(sql, parameters).fetchall()
        finally:
            connection.close()

    def recorded(self) -> set[str]:
        """The idempotency keys of all steps whose outcome is recorded."""
        rows = self.read(
            "SELECT run.run_id || ':' || path FROM step JOIN run ON run.key = step.run "
            "WHERE step.status IN ('completed', 'failed', 'in_doubt', 'compensating', 'compensated')"
        )
        return {key for (key,) in rows}

    def statuses(self) -> dict[str, int]:
        return dict(self.read("SELECT status, count(*) FROM run GROUP BY status"))

    def unfinished(self) -> int:
        return sum(count for status, count in self.statuses().items() if status not in {"completed", "failed"})

    async def settled(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        """Until ``condition`` holds of the database; looked at often, because another process writes it."""
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 (the change is in another process)
                await asyncio.sleep(0.02)


class ServerProcess:
    """One ``serve --http`` process."""

    def __init__(self, place: Place, port: int, settings: dict[str, str]) -> None:
        self.place = place
        self.port = port
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MCP_WORKFLOWS_")}
        environment["MCP_WORKFLOWS_DATABASE_URL"] = f"sqlite:///{self.place.database}"
        for name, value in self.place.variables.items():
            environment[f"MCP_WORKFLOWS_VAR_{name}"] = value
        for name, value in self._settings.items():
            environment[f"MCP_WORKFLOWS_{name}"] = value
        with (self.place.folder / "server.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *mortal(
                    sys.executable, "-m", "mcp_workflows", "serve", self.place.folder / "definitions",
                    "--http", f"127.0.0.1:{self.port}",
                ),
                env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        async with asyncio.timeout(READY_SECONDS), aiohttp.ClientSession() as session:
            while not await self._answers(session):
                assert self._process.returncode is None, (self.place.folder / "server.log").read_text()
                await asyncio.sleep(0.02)

    async def kill(self) -> None:
        """As ``kill -9`` does: no last words."""
        await self._end(signal.SIGKILL)

    async def terminate(self) -> int:
        """As a deploy does; answers with the exit code."""
        return await self._end(signal.SIGTERM)

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[Client]:
        async with Client(self.url) as client:
            yield client

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """One tool call by the official client; its structured answer."""
        async with self.client() as client:
            result = await client.call_tool(tool, arguments)
        assert not result.is_error, result.content
        assert result.structured_content is not None
        return result.structured_content

    async def _answers(self, session: aiohttp.ClientSession) -> bool:
        try:
            async with session.get(f"http://127.0.0.1:{self.port}/healthz") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    async def _end(self, number: signal.Signals) -> int:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(number)
        return await self._process.wait()


@asynccontextmanager
async def place(folder: Path, **variables: str) -> AsyncGenerator[Place]:
    """Whatever still runs at the end of the block is killed."""
    here = Place(folder, variables)
    try:
        yield here
    finally:
        for process in here.processes:
            await process.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
