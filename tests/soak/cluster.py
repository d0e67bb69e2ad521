"""Several servers on one database, each brought back whenever it ends, as whatever runs services does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from tests.mortal import mortal

ROOT = Path(__file__).parents[2]
DEFINITIONS = Path(__file__).parent / "definitions"
STARTING_SECONDS = 60.0
ENDING_SECONDS = 30.0
"""For a server that was started, or told to stop, on a machine however busy."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Slot:
    """A place where a server runs, at one address. Each process that runs there has a ``label`` of its own."""

    name: str
    port: int
    folder: Path
    settings: Mapping[str, str]
    definitions: Path
    clock_off: float = 0.0
    """Seconds by which the clock of what runs here is ahead."""
    flaw: str = ""
    """Of ``flaws.FLAWS``; none: the product as it is."""
    judging: Path | None = None
    """Where what runs here leaves word of whom it finds silent."""
    label: str = ""
    pids: dict[int, str] = field(default_factory=dict[int, str])
    """Labels of all processes that ever ran here."""
    exits: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    kept_up: bool = True
    """Whether a process that ends is followed by another."""
    _process: asyncio.subprocess.Process | None = None
    _keeper: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """Of the process that runs now, if one does."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    def begin(self) -> None:
        self._keeper = asyncio.create_task(self._keep_up())

    async def end(self) -> None:
        """Whatever runs here is killed, and nothing comes after it."""
        self.kept_up = False
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        process = self._process
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()

    async def serving(self, seconds: float = STARTING_SECONDS) -> None:
        """Once somebody answers here, and is well."""
        async with asyncio.timeout(seconds), aiohttp.ClientSession() as session:
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"{self.url}/healthz") as response:
                        if response.status == 200:
                            return
                await asyncio.sleep(0.02)

    def send(self, number: signal.Signals) -> None:
        """To the process that runs now, if one does."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Tells the process that runs now to stop, or kills it; answers with its exit code."""
        process = self._process
        if process is None:
            return 0
        self.send(how)
        async with asyncio.timeout(ENDING_SECONDS):
            return await process.wait()

    async def _keep_up(self) -> None:
        number = 0
        while self.kept_up:
            number += 1
            await self._spawn(f"{self.name}.{number}")
            assert self._process is not None
            self.exits.append((self.label, await self._process.wait()))
            await asyncio.sleep(0.1)

    async def _spawn(self, label: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MCP_WORKFLOWS_")}
        for name, value in {**self.settings, "VAR_NODE": label}.items():
            environment[f"MCP_WORKFLOWS_{name}"] = value
        odd = {"SOAK_CLOCK": str(self.clock_off), "SOAK_FLAW": self.flaw, "SOAK_JUDGING": str(self.judging or "")}
        module = "tests.soak.server" if self.clock_off or self.flaw or self.judging else "mcp_workflows"
        with self.log.open("ab") as log:
            log.write(f"--- {label} at {time.time():.3f}\n".encode())
            log.flush()
            self._process = await asyncio.create_subprocess_exec(
                *mortal(sys.executable, "-m", module, "serve", self.definitions, "--http", f"127.0.0.1:{self.port}"),
                env=environment | odd, cwd=ROOT, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self.label = label
        self.pids[self._process.pid] = label


@asynccontextmanager
async def slots(
    folder: Path,
    settings: Sequence[Mapping[str, str]],
    definitions: Sequence[Path] | None = None,
    *,
    clocks: Sequence[float] = (),
    flaw: str = "",
    judging: Path | None = None,
) -> AsyncGenerator[list[Slot]]:
    """One for each of ``settings``, begun, until the block ends. ``definitions``: what each of them serves; ``clocks``: by how
    much the clock of each is ahead.
    """
    async with AsyncExitStack() as stack:
        all_of_them: list[Slot] = []
        for number, one in enumerate(settings):
            serves = DEFINITIONS if definitions is None else definitions[number]
            off = clocks[number] if clocks else 0.0
            slot = Slot(f"s{number}", free_port(), folder, one, serves, off, flaw, judging)
            all_of_them.append(slot)
            slot.begin()
            stack.push_async_callback(slot.end)
        yield all_of_them
