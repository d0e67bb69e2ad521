"""The sample services seen from another process: starting them, arranging faults, reading their call log and books."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from mcp_workflows.samples.calls import Call
from mcp_workflows.samples.faults import Fault
from mcp_workflows.samples.server import CONTROL
from mcp_workflows.samples.services import variables


class Samples:
    """A running set of sample services."""

    def __init__(self, urls: Mapping[str, str], client: httpx2.AsyncClient) -> None:
        self.urls = dict(urls)
        self.variables = variables(urls)
        """What to set so that definitions find them: ``{"CRM_URL": …}``."""
        self._control = next(iter(urls.values())) + CONTROL
        self._client = client

    async def misbehave(self, *faults: Fault) -> None:
        """Adds faults, to happen in this order to the calls that fit."""
        for fault in faults:
            answer = await self._client.post(f"{self._control}/faults", json=fault.to_json())
            answer.raise_for_status()

    async def behave(self) -> None:
        """Lifts every fault; calls that are held lose their connection."""
        (await self._client.delete(f"{self._control}/faults")).raise_for_status()

    async def calls(self) -> list[Call]:
        """Every call until now."""
        return (await self._read(-1))[1]

    async def books(self) -> dict[str, Any]:
        """What each service holds: ``{service: {collection: {id: entry}}}``."""
        return (await self._client.get(f"{self._control}/books")).raise_for_status().json()

    async def changes(self) -> AsyncIterator[Sequence[Call]]:
        """The whole log, again at every change."""
        version = -1
        while True:
            newer, calls = await self._read(version)
            if newer > version:
                yield calls
            version = newer

    async def wait_for(self, happened: Callable[[Sequence[Call]], bool], seconds: float = 20.0) -> list[Call]:
        """The log as soon as ``happened`` holds of it; TimeoutError after ``seconds``."""
        async with asyncio.timeout(seconds):
            async for calls in self.changes():
                if happened(calls):
                    return list(calls)
        raise AssertionError("the log ended")

    async def _read(self, version: int) -> tuple[int, list[Call]]:
        answer = await self._client.get(f"{self._control}/calls", params={"version": version})
        found = answer.raise_for_status().json()
        return found["version"], [Call.from_json(call) for call in found["calls"]]


@asynccontextmanager
async def started_samples() -> AsyncGenerator[Samples]:
    """The services in a process of their own on free ports; it ends with the block, and with this process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "mcp_workflows.samples", "--any-port"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        urls: dict[str, str] = json.loads(await process.stdout.readline())
        async with httpx2.AsyncClient(timeout=30.0, trust_env=False) as client:
            yield Samples(urls, client)
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(5.0):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
