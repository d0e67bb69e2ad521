"""Stdio: one client at the other end of this process's stdin and stdout.

The SDK's own transport cannot be told to stop while its thread reads stdin, and drops a message that it cannot parse, so
that the client waits for an answer until it gives up. This one stops when asked and answers what it cannot read.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sys
import threading
from collections.abc import Generator, Iterator

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter
from pydantic import ValidationError

from mcp_workflows.mcp_server.server import WorkflowServer
from mcp_workflows.mcp_server.transport.unreadable import answer_to_unreadable

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""A longer line is no message to this server; it is passed over and said to be too long."""

_CHUNK = 256 * 1024
_READ_AHEAD = 64
"""Messages that may wait to be taken in before no more is read."""
_FLUSH_SECONDS = 1.0
_LAST_ANSWERS_SECONDS = 0.1
"""For calls that were told to answer now to get their answers onto the wire; closing it cancels them."""


async def serve_stdio(server: WorkflowServer, *, stop: asyncio.Event) -> None:
    """Serve until the client closes stdin, or ``stop`` is set. Meanwhile ``print`` goes to stderr."""
    with _claimed_descriptors() as (wire_in, wire_out):
        writer = _Writer(wire_out)
        to_server, from_client = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        to_client, from_server = anyio.create_memory_object_stream[SessionMessage](0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_read, wire_in, to_server, writer)
            tasks.start_soon(_write, from_server, writer)
            tasks.start_soon(_end_on, stop, server, to_server)
            await server.run(from_client, to_client, server.create_initialization_options())
            tasks.cancel_scope.cancel()
        await server.stop()
        await writer.close()


async def _end_on(
    stop: asyncio.Event, server: WorkflowServer, to_server: MemoryObjectSendStream[SessionMessage | Exception]
) -> None:
    await stop.wait()
    await server.stop()
    await asyncio.sleep(_LAST_ANSWERS_SECONDS)
    await to_server.aclose()


async def _read(wire_in: int, to_server: MemoryObjectSendStream[SessionMessage | Exception], writer: _Writer) -> None:
    """Hand over one message after another until stdin is closed."""
    reader = _Reader(wire_in)
    with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
        async with to_server:
            while (line := await reader.line()) is not None:
                if not line.strip():
                    continue
                try:
                    message = jsonrpc_message_adapter.validate_json(line, by_name=False)
                except ValidationError:
                    reply = await asyncio.to_thread(answer_to_unreadable, line)
                    await writer.send(reply.model_dump_json(by_alias=True, exclude_unset=True))
                else:
                    await to_server.send(SessionMessage(message))


async def _write(from_server: MemoryObjectReceiveStream[SessionMessage], writer: _Writer) -> None:
    async with from_server:
        async for outgoing in from_server:
            await writer.send(outgoing.message.model_dump_json(by_alias=True, exclude_unset=True))


class _Reader:
    """Reads lines on a thread of its own, which may stay in its last read when the process ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._ahead = threading.BoundedSemaphore(_READ_AHEAD)
        threading.Thread(target=self._run, name="stdin", daemon=True).start()

    async def line(self) -> bytes | None:
        line = await self._lines.get()
        if line is not None:
            self._ahead.release()
        return line

    def _run(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            for line in self._split():
                self._ahead.acquire()
                self._loop.call_soon_threadsafe(self._lines.put_nowait, line)
            self._loop.call_soon_threadsafe(self._lines.put_nowait, None)

    def _split(self) -> Iterator[bytes]:
        pending = bytearray()
        while chunk := self._chunk():
            *lines, rest = chunk.split(b"\n")
            for line in lines:
                yield bytes(pending + line)
                pending.clear()
            if len(pending) <= MAX_MESSAGE_BYTES:
                pending += rest
        if pending:
            yield bytes(pending)

    def _chunk(self) -> bytes:
        try:
            return os.read(self._descriptor, _CHUNK)
        except OSError:
            return b""


class _Writer:
    """Writes lines on a thread of its own: a client that does not read must not hold the event loop."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._room = asyncio.Semaphore(_READ_AHEAD)
        self._done = asyncio.Event()
        threading.Thread(target=self._run, name="stdout", daemon=True).start()

    async def send(self, line: str) -> None:
        """Returns at once while few lines are unwritten."""
        await self._room.acquire()
        self._lines.put(line.encode() + b"\n")

    async def close(self) -> None:
        """Write what is left, but do not wait for a client that reads no more."""
        self._lines.put(None)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_SECONDS):
                await self._done.wait()

    def _run(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            while (line := self._lines.get()) is not None:
                self._write(memoryview(line))
                self._loop.call_soon_threadsafe(self._room.release)
            self._loop.call_soon_threadsafe(self._done.set)

    def _write(self, line: memoryview) -> None:
        with contextlib.suppress(OSError):  # the client is gone, as the end of stdin will say
            while line:
                line = line[os.write(self._descriptor, line) :]


@contextlib.contextmanager
def _claimed_descriptors() -> Generator[tuple[int, int]]:
    """Private descriptors for the protocol; what anything else reads is empty, and what it prints goes to stderr."""
    sys.stdout.flush()
    wire_in, wire_out = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    try:
        yield wire_in, wire_out
    finally:
        sys.stdout.flush()
        os.dup2(wire_in, 0)
        os.dup2(wire_out, 1)
