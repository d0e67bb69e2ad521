"""The real server as a process of its own: started, killed and started again, as an operator or a crash would."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mcp_workflows.settings import PREFIX

_URL: Final = re.compile(r"http://127\.0\.0\.1:\d+/mcp")
_START_SECONDS: Final = 20.0
_KEPT_LINES: Final = 30


class ServerDidNotStartError(Exception):
    """The message ends with what the server wrote."""


class ServerProcess:
    """``mcp-workflows serve --http`` on one database. Its address stays the same from one start to the next."""

    def __init__(self, definitions: Path, database: Path, variables: Mapping[str, str]) -> None:
        self._definitions = definitions
        self._database = database
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        self._environment |= {f"{PREFIX}VAR_{name}": value for name, value in variables.items()}
        self._address = "127.0.0.1:0"
        self._process: asyncio.subprocess.Process | None = None
        self._written: list[str] = []
        self._reader: asyncio.Task[None] | None = None
        self.url = ""

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Returns when it accepts connections. Raises ServerDidNotStartError."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "mcp_workflows", "serve", str(self._definitions)),
            *("--http", self._address, "--database", str(self._database)),
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        self._written.clear()
        listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._reader = asyncio.create_task(self._read(self._process, listening))
        try:
            async with asyncio.timeout(_START_SECONDS):
                self.url = await listening
        except TimeoutError:
            await self.kill()
            raise ServerDidNotStartError("\n".join(["the server did not start in time", *self._written])) from None
        self._address = self.url.removeprefix("http://").removesuffix("/mcp")

    async def kill(self) -> None:
        """SIGKILL: no handler runs, nothing is flushed."""
        await self._end(signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)

    async def stop(self) -> None:
        """SIGTERM, as an orderly end. Does nothing where it is not running."""
        await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            process.send_signal(number)
        try:
            async with asyncio.timeout(5.0):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        if self._reader is not None:
            await self._reader

    async def _read(self, process: asyncio.subprocess.Process, listening: asyncio.Future[str]) -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            text = line.decode(errors="replace").rstrip()
            self._written = [*self._written, text][-_KEPT_LINES:]
            if (found := _URL.search(text)) and not listening.done():
                listening.set_result(found[0])
        if not listening.done():
            listening.set_exception(ServerDidNotStartError("\n".join(["the server ended at once", *self._written])))
