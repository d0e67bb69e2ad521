"""A real server process for a whole module of tests: whatever one of them does to it, it has to serve the next one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from mcp import Client
from mcp_types import CallToolResult

from tests.mcp_server.place import refused, told
from tests.mortal import mortal

ROOT = Path(__file__).parents[2]

ALIVE = """
name: alive
description: Shows that the server goes on serving, whatever was done to it.
steps:
  - set: {alive: true}
"""

TOOLS = {"mcpServers": {"tools": {"command": sys.executable, "args": ["-m", "tests.steps.tool_server", "stdio"]}}}


@dataclass(frozen=True, slots=True)
class Server:
    """``serve --http`` as a process of its own."""

    folder: Path
    base: str
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text("utf-8")

    @property
    def database(self) -> Path:
        return self.folder / "runs.db"

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[Client]:
        async with Client(f"{self.base}/mcp") as client:
            yield client

    async def call(self, tool: str, /, **arguments: Any) -> CallToolResult:
        """One tool call by the official client."""
        async with self.client() as client:
            return await client.call_tool(tool, arguments)

    async def run(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        """The run object, whether or not the run went well; of one that is under way as soon as it has ended or asks."""
        answer = told(await self.call(tool, **arguments))
        if answer["status"] in ("pending", "running", "compensating"):
            answer = told(await self.call("get_run", run_id=answer["run_id"], wait_seconds=50))
        return answer

    async def trace(self, run_id: str) -> list[dict[str, Any]]:
        """Every step of the run, as recorded."""
        answer = told(await self.call("get_run", run_id=run_id, select="steps"))
        return list(answer["selected"])

    async def refused(self, tool: str, /, **arguments: Any) -> str:
        """The text of a call that is refused."""
        return refused(await self.call(tool, **arguments))

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The program in another process, on the same database."""
        command = [sys.executable, "-m", "mcp_workflows", *arguments, "--database", str(self.database)]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL
        )


@contextmanager
def serving(folder: Path, definitions: Mapping[str, str], **settings: str) -> Generator[Server]:
    """A server of ``definitions`` by name. It must not have ended, nor found a defect of its own, when the block does."""
    (folder / "definitions").mkdir()
    for name, text in {**definitions, "alive": ALIVE}.items():
        (folder / "definitions" / f"{name}.yaml").write_text(text, "utf-8")
    (folder / "servers.json").write_text(json.dumps(TOOLS))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MCP_WORKFLOWS_")}
    environment |= {
        "MCP_WORKFLOWS_DATABASE_URL": f"sqlite:///{folder / 'runs.db'}",
        "MCP_WORKFLOWS_FUNCTIONS": "tests.steps.functions_module",
        "MCP_WORKFLOWS_MCP_SERVERS": str(folder / "servers.json"),
        **{f"MCP_WORKFLOWS_{name}": value for name, value in settings.items()},
    }
    command = mortal(sys.executable, "-m", "mcp_workflows", "serve", folder / "definitions", "--http", "127.0.0.1:0")
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        server = Server(folder, _base(folder, process), process)
        yield server
        assert process.poll() is None, server.log
    finally:
        process.kill()
        process.wait()


def _base(folder: Path, process: subprocess.Popen[bytes]) -> str:
    """Where the server says that it listens, once it answers there."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        assert process.poll() is None, (folder / "server.log").read_text("utf-8")
        for word in (folder / "server.log").read_text("utf-8").split():
            if word.startswith("http://127.0.0.1"):
                base = word.strip(".,").removesuffix("/mcp")
                if httpx2.get(f"{base}/healthz", trust_env=False).status_code == 200:
                    return base
        time.sleep(0.02)
    raise AssertionError("the server does not answer")
