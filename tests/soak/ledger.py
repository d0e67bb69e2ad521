"""The service that everything is done to: it counts effects by idempotency key, and misbehaves on the way.

Like a good payment service it carries each key out once and answers a repetition with its first answer, undoes by key,
and refuses a key that was undone before it came. Unlike one it answers late, with 503, or not at all, before or after the
effect, and it remembers who called when.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from aiohttp import web
from mcp.server.mcpserver import Context, MCPServer
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.soak.cluster import free_port
from tests.soak.pace import Pace

FAULTS = ("503 before", "503 after", "429", "reset before", "reset after", "late", "hang before", "hang after")
MAX_FAULTS = 3
"""Of the calls of one key: a service that never works would only show that attempts are counted."""
KEY = "io.github.mcp-workflows/idempotency-key"

CallBack = Callable[[str, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Call:
    """A call that came in: when, by the wall clock, under which key, by which process, and what it met with.

    ``behind``: seconds that it may have lain there unread.
    """

    at: float
    behind: float
    what: str
    key: str
    by: str
    fault: str | None


@dataclass(slots=True)
class Effect:
    """What was done under a key. ``undone_by``: the key of what undid it."""

    number: int
    what: str
    undone_by: str | None = None


@dataclass(slots=True)
class Ledger:
    """The books. ``calm`` ends the misbehaviour."""

    dice: random.Random
    fault_rate: float
    calm: bool = False
    url: str = ""
    tools_url: str = ""
    calls: list[Call] = field(default_factory=list[Call])
    effects: dict[str, Effect] = field(default_factory=dict[str, Effect])
    answers: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict[str, tuple[int, dict[str, Any]]])
    tombstones: set[str] = field(default_factory=set[str])
    """Keys that were undone before they were asked for: they are refused for good."""
    twice: list[str] = field(default_factory=list[str])
    """Complaints about undoings that make no sense."""
    call_back: CallBack | None = None
    _called: asyncio.Condition = field(default_factory=asyncio.Condition)
    _released: asyncio.Event = field(default_factory=asyncio.Event)
    _pace: Pace = field(default_factory=Pace)
    _faults: dict[str, int] = field(default_factory=dict[str, int])
    _tasks: set[asyncio.Task[None]] = field(default_factory=set["asyncio.Task[None]"])

    def note(self, what: str, key: str, by: str, *, faulty: bool = True) -> str | None:
        """A call; answers with the fault that it is to meet with."""
        fault: str | None = None
        met = self._faults.get(key, 0)
        if faulty and not self.calm and met < MAX_FAULTS and self.dice.random() < self.fault_rate:
            self._faults[key] = met + 1
            fault = self.dice.choice(FAULTS)
        self.calls.append(Call(time.time(), self._pace.behind(), what, key, by, fault))
        return fault

    def made(self, key: str) -> list[Call]:
        return [call for call in self.calls if call.key == key]

    async def called(self, key: str, times: int = 1, seconds: float = 120.0) -> Call:
        """The last of so many calls under that key, once they came in."""
        async with asyncio.timeout(seconds), self._called:
            await self._called.wait_for(lambda: len(self.made(key)) >= times)
        return self.made(key)[times - 1]

    def let_go(self) -> None:
        """What is held is answered."""
        released, self._released = self._released, asyncio.Event()
        released.set()

    def do(self, what: str, key: str, *, refuse: bool = False) -> tuple[int, dict[str, Any]]:
        """The answer for this key, which is the same each time."""
        if key in self.answers:
            return self.answers[key]
        if refuse or key in self.tombstones:
            answer = (422, {"error": "refused"})
        else:
            self.effects[key] = effect = Effect(len(self.effects), what)
            answer = (200, {"effect": effect.number})
        self.answers[key] = answer
        return answer

    def undo(self, key: str, by_key: str) -> tuple[int, dict[str, Any]]:
        if by_key in self.answers:
            return self.answers[by_key]
        effect = self.effects.get(key)
        if effect is None:
            self.tombstones.add(key)
            answer = (404, {"error": "no such effect"})
        else:
            if effect.undone_by is not None:
                self.twice.append(f"{key} was undone by {effect.undone_by} and by {by_key}")
            effect.undone_by = by_key
            answer = (200, {"undone": effect.number})
        self.answers[by_key] = answer
        return answer

    async def act(self, what: str, key: str, by: str, do: Callable[[], tuple[int, dict[str, Any]]]) -> web.Response:
        """``do`` it, with a fault before or after. ``ConnectionAbortedError``: the caller is to get no answer."""
        fault = self.note(what, key, by)
        match fault:
            case "503 before":
                return web.json_response({"error": "busy"}, status=503)
            case "429":
                return web.json_response({"error": "slowly"}, status=429)
            case "reset before":
                raise ConnectionAbortedError
            case "hang before":
                await asyncio.sleep(5)
                raise ConnectionAbortedError
            case "late":
                await asyncio.sleep(self.dice.uniform(0.2, 1.2))
            case _:
                await asyncio.sleep(self.dice.uniform(0.0, 0.05))
        status, body = do()
        match fault:
            case "503 after":
                return web.json_response({"error": "lost"}, status=503)
            case "reset after":
                raise ConnectionAbortedError
            case "hang after":
                await asyncio.sleep(5)
                raise ConnectionAbortedError
            case _:
                return web.json_response(body, status=status)

    # Over HTTP

    async def answer(self, request: web.Request) -> web.StreamResponse:
        by = request.headers.get("X-Node", "?")
        key = request.headers.get("Idempotency-Key", "")
        try:
            return await self._answer(request, key, by)
        except ConnectionAbortedError:
            _reset(request)
            return web.Response(status=500)

    async def _answer(self, request: web.Request, key: str, by: str) -> web.Response:
        match request.path.split("/")[1:]:
            case ["do", what]:
                asked = await request.json()
                if asked.get("doubt"):
                    self.note(what, key, by)
                    self.do(what, key)
                    return web.json_response({"error": "nobody knows"}, status=500)
                refuse = bool(asked.get("refuse"))
                return await self.act(what, key, by, lambda: self.do(what, key, refuse=refuse))
            case ["hold", what]:
                released = self._released
                self.note(what, key, by)
                async with self._called:
                    self._called.notify_all()
                await released.wait()
                return web.json_response(self.do(what, key)[1])
            case ["undo"]:
                asked = await request.json()
                return await self.act("undo", key, by, lambda: self.undo(asked["key"], key))
            case ["look"]:
                seen = int(request.query["n"])
                fault = self.note("look", f"look {seen}", by)
                return web.json_response({"seen": seen}, status=503 if fault else 200)
            case ["job"]:
                response = await self.act("job", key, by, lambda: self.do("job", key))
                response.headers["Location"] = f"{self.url}/jobs/{key}/{time.monotonic() + 0.4}"
                return response
            case ["jobs", which, done_at]:
                fault = self.note("look", f"job {which}", by)
                state = "done" if time.monotonic() >= float(done_at) else "working"
                return web.json_response(
                    {"state": state, "effect": self.effects[which].number}, status=503 if fault else 200
                )
            case ["bring"]:
                notify = (await request.json())["notify"]
                response = await self.act("bring", key, by, lambda: self.do("bring", key))
                if key in self.effects:
                    self._later(self._bring(notify, {"effect": self.effects[key].number}))
                return response
            case _:
                return web.json_response({"error": "no such thing"}, status=404)

    async def _bring(self, notify: str, body: Any) -> None:
        assert self.call_back is not None
        await asyncio.sleep(self.dice.uniform(0.0, 0.6))  # sometimes before the answer is recorded
        await self.call_back(notify, body)

    def open(self) -> None:
        self._later(self._pace.keep())

    def _later(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()

    # Over MCP

    def tools(self) -> ASGIApp:
        server = MCPServer("ledger")

        @server.tool()
        async def act(what: str, ctx: Context[Any, Any]) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
            """Does it, once for each key."""
            meta: Any = ctx.request_context.meta
            key: str = meta[KEY]
            fault = self.note(what, key, dict(ctx.headers or {}).get("x-node", "?"))
            if fault and "before" in fault:
                await asyncio.sleep(4)
            status, body = self.do(what, key)
            if fault and "after" in fault:
                await asyncio.sleep(4)
            assert status == 200, f"{key} came after its undoing"
            return body

        return _Busy(self, server.streamable_http_app(json_response=True))


class _Busy:
    """Turns some calls away at the door."""

    def __init__(self, ledger: Ledger, app: ASGIApp) -> None:
        self._ledger = ledger
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        dice = self._ledger.dice
        if scope["type"] == "http" and not self._ledger.calm and dice.random() < self._ledger.fault_rate / 4:
            await send({"type": "http.response.start", "status": 503, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await self._app(scope, receive, send)


class _Uvicorn(uvicorn.Server):
    """Leaves the signals to pytest."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def _reset(request: web.Request) -> None:
    if request.transport is None:
        return
    sock: socket.socket | None = request.transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()


@asynccontextmanager
async def ledger(dice: random.Random, *, fault_rate: float = 0.12) -> AsyncGenerator[Ledger]:
    """Both of its doors, on free ports of the loopback interface, while the block runs."""
    books = Ledger(dice, fault_rate)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", books.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    port = free_port()
    config = uvicorn.Config(
        books.tools(), host="127.0.0.1", port=port, log_level="critical", lifespan="on", timeout_graceful_shutdown=0
    )
    tools = _Uvicorn(config)
    await runner.setup()
    serving = asyncio.create_task(tools.serve())
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        books.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        books.tools_url = f"http://127.0.0.1:{port}/mcp"
        books.open()
        yield books
    finally:
        books.close()
        tools.should_exit = True
        await serving
        await runner.cleanup()


def to_json(books: Ledger) -> str:
    """For whoever looks into a failure."""
    calls = [(call.at, call.behind, call.what, call.key, call.by, call.fault) for call in books.calls]
    effects = {key: (effect.number, effect.what, effect.undone_by) for key, effect in books.effects.items()}
    return json.dumps({"calls": calls, "effects": effects, "tombstones": sorted(books.tombstones)}, indent=1)
