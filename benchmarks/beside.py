"""Servers that run in processes beside the one that measures, as long as a block does."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import aiohttp

START_SECONDS = 60.0
"""To begin to answer, on a machine however busy."""
STOP_SECONDS = 20.0


@contextmanager
def beside(
    command: Sequence[str], *, log: Path | None = None, environment: Mapping[str, str] | None = None
) -> Generator[subprocess.Popen[bytes]]:
    """``log`` gets what it writes; ``environment`` comes on top of this process's own."""
    with ExitStack() as stack:
        output = subprocess.DEVNULL if log is None else stack.enter_context(log.open("ab"))
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **(environment or {})})
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [listener.getsockname()[1] for listener in listeners]


async def answering(client: aiohttp.ClientSession, url: str, *, post: object = None, well: bool = True) -> None:
    """Until a GET of ``url`` is answered, or a POST of ``post``; ``well``: by a status below 400."""
    async with asyncio.timeout(START_SECONDS):
        while True:
            try:
                async with client.request("GET" if post is None else "POST", url, json=post) as response:
                    if response.ok or not well:
                        return
            except aiohttp.ClientError:
                pass  # it does not listen yet
            await asyncio.sleep(0.1)
