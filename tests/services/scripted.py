"""A service whose answers a test writes down: for each path one after the other, the last one again and again."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it arrived. ``headers`` by lower-case name."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    status: int = 200
    body: Any = None
    """Bytes as they are, anything else as JSON; ``None``: no body."""
    headers: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(slots=True)
class Scripted:
    """The running service."""

    url: str = ""
    calls: list[Call] = field(default_factory=list[Call])
    answers: dict[str, list[Answer]] = field(default_factory=dict[str, list[Answer]])
    acts: dict[str, Callable[[bytes], Awaitable[Answer]]] = field(
        default_factory=dict[str, Callable[[bytes], Awaitable[Answer]]]
    )
    _arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    def on(self, path: str, *answers: Answer) -> None:
        self.answers[path] = list(answers)

    def act(self, path: str, act: Callable[[bytes], Awaitable[Answer]]) -> None:
        """``act`` answers calls of ``path``, with their body."""
        self.acts[path] = act

    async def called(self, path: str, times: int = 1) -> list[Call]:
        """The calls of ``path``, once there are so many; at most 20 seconds."""
        async with asyncio.timeout(20), self._arrived:
            await self._arrived.wait_for(lambda: len(self.made(path)) >= times)
        return self.made(path)

    def made(self, path: str) -> list[Call]:
        return [call for call in self.calls if call.path == path]

    async def answer(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        call = Call(request.method, request.rel_url.raw_path, dict(request.query), headers, await request.read())
        async with self._arrived:
            self.calls.append(call)
            self._arrived.notify_all()
        answer = await self._answer(call)
        match answer.body:
            case None:
                return web.Response(status=answer.status, headers=answer.headers)
            case bytes():
                return web.Response(status=answer.status, headers=answer.headers, body=answer.body)
            case _:
                headers = {"Content-Type": "application/json", **answer.headers}
                return web.Response(status=answer.status, headers=headers, body=json.dumps(answer.body).encode())

    async def _answer(self, call: Call) -> Answer:
        if call.path in self.acts:
            return await self.acts[call.path](call.body)
        script = self.answers.get(call.path, [Answer(404, {"error": "not in the script"})])
        return script.pop(0) if len(script) > 1 else script[0]


@contextlib.asynccontextmanager
async def scripted() -> AsyncGenerator[Scripted]:
    """Served on a free port of the loopback interface while the block runs."""
    service = Scripted()
    app = web.Application(client_max_size=64 << 20)
    app.router.add_route("*", "/{path:.*}", service.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield service
    finally:
        await runner.cleanup()
