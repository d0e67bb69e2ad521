"""The child processes that run filters: started when needed, kept for the next filter, killed when one overruns."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Any

from mcp_workflows.steps.jq import child as program

_ROOM = 4096
"""Bytes of an answer beside its values."""
_USES = 1000
"""Filters after which a child is replaced: what it has allocated it does not give back."""


class ChildDied(Exception):
    """The child ended before it answered. ``fresh``: this was its first filter, so it was this one that killed it."""

    def __init__(self, returncode: int | None, *, fresh: bool) -> None:
        super().__init__(returncode)
        self.returncode = returncode
        self.fresh = fresh


class Child:
    """One process, busy with one filter at a time."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.uses = 0

    @classmethod
    async def start(cls) -> Child:
        environment = {
            name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ
        }  # Windows cannot without
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            str(Path(program.__file__)),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env=environment,
            cwd=Path(program.__file__).parent,
            start_new_session=True,
        )
        return cls(process)

    @property
    def usable(self) -> bool:
        return self._process.returncode is None and self.uses < _USES

    async def run(self, text: str, value: str, limit: int, seconds: float) -> dict[str, Any]:
        """``value`` is JSON. Raises ``ChildDied``."""
        self.uses += 1
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        body = f'{{"filter":{json.dumps(text)},"limit":{limit},"seconds":{seconds},"input":{value}}}'.encode("ascii")
        try:
            stdin.write(len(body).to_bytes(4, "big") + body)
            await stdin.drain()
            size = int.from_bytes(await stdout.readexactly(4), "big")
            if size > limit * 2 + _ROOM:
                raise ChildDied(None, fresh=True)
            return json.loads(await stdout.readexactly(size))
        except (OSError, asyncio.IncompleteReadError):
            returncode = await self._process.wait()
            raise ChildDied(returncode, fresh=self.uses == 1) from None

    async def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self._process.wait()


class Children:
    """The idle ones, and those that are ending. How many there are at once is the caller's to limit."""

    def __init__(self) -> None:
        self._idle: list[Child] = []
        self._ending: set[asyncio.Task[None]] = set()

    async def run(self, text: str, value: str, limit: int, seconds: float) -> dict[str, Any]:
        """What a child answers. Cancelled, it kills the child. Raises ``ChildDied``, and OSError if none can be started."""
        child = await self._take()
        try:
            answer = await child.run(text, value, limit, seconds)
        except ChildDied as died:
            self._drop(child)
            if died.fresh:
                raise
            # What it ran before may have weakened it: the filter has no effect, so it is simply run again, by itself.
            child = await Child.start()
            try:
                answer = await child.run(text, value, limit, seconds)
            except BaseException:
                self._drop(child)
                raise
        except BaseException:
            self._drop(child)
            raise
        self._idle.append(child)
        return answer

    async def _take(self) -> Child:
        while self._idle:
            child = self._idle.pop()
            if child.usable:
                return child
            self._drop(child)
        return await Child.start()

    def _drop(self, child: Child) -> None:
        """Killed at once, and waited for beside."""
        task = asyncio.create_task(child.end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        while self._idle:
            self._drop(self._idle.pop())
        if self._ending:
            await asyncio.wait(self._ending, timeout=2.0)
