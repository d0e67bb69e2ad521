"""Serves the sample services over HTTP, each on its own port of the loopback interface, with a control path beside.

``/_samples/calls?version=N`` answers the call log as soon as it is newer than N; ``/_samples/books`` what the services
hold; ``POST /_samples/faults`` adds a fault, ``DELETE`` lifts all and lets held calls go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from aiohttp import ClientError, ClientSession, web
from mcp.server.mcpserver.exceptions import ToolError

from mcp_workflows.samples.bodies import body_of
from mcp_workflows.samples.calls import CallLog
from mcp_workflows.samples.faults import Fault, Faults
from mcp_workflows.samples.incidents import ToolContext, incident_server
from mcp_workflows.samples.service import Answer, Ask, CallBack, Service
from mcp_workflows.samples.services import all_services
from mcp_workflows.samples.tools import CALL_HEADER, MCP_PATH, ToolDoor, tool_call

CONTROL = "/_samples"
_LONGEST_WAIT_SECONDS = 10.0
_TELLING_TRIES = 120
_TELLING_PAUSE_SECONDS = 0.25


class World:
    """All the services with one call log and one list of faults."""

    def __init__(self) -> None:
        self.services = all_services()
        self.calls = CallLog()
        self.faults = Faults()
        self.desk = ToolDoor(incident_server(self._do_tool))
        self._lifted = asyncio.Event()
        self._telling: set[asyncio.Task[None]] = set()
        self._asked: dict[int, Ask] = {}
        """What is asked of tools by calls in flight, by the number of the call."""

    def lift_faults(self) -> None:
        """Nothing more goes wrong; what is held is cut off."""
        self.faults.clear()
        self._lifted.set()
        self._lifted = asyncio.Event()

    def app(self, service: Service) -> web.Application:
        """The HTTP application of one service; every one of them has the control paths."""
        app = web.Application(client_max_size=64 << 20)
        app.router.add_get(f"{CONTROL}/calls", self._show_calls)
        app.router.add_get(f"{CONTROL}/books", self._show_books)
        app.router.add_post(f"{CONTROL}/faults", self._add_fault)
        app.router.add_delete(f"{CONTROL}/faults", self._lift_faults)

        async def answer(request: web.Request) -> web.StreamResponse:
            return await self._answer(service, request)

        if service.name == "incidents":
            app.router.add_route("*", MCP_PATH, self._answer_mcp)
        else:
            app.router.add_route("*", "/{path:.*}", answer)
        return app

    async def stop_telling(self) -> None:
        """Calls nobody back any more."""
        for task in self._telling:
            task.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)

    async def _answer(self, service: Service, request: web.Request) -> web.StreamResponse:
        try:
            body, files = await body_of(request)
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)
        ask = Ask(request.method, request.path, body, dict(request.query), _headers(request), files=files)

        promised: list[CallBack] = []

        async def done(number: int) -> web.StreamResponse:
            answer = self._do(service, ask, number)
            promised.extend([answer.call_back] if answer.call_back else [])
            return _response(answer)

        response = await self._log_and_fail(service, request, ask, done)
        if promised and request.transport is not None and not request.transport.is_closing():
            await response.prepare(request)
            await response.write_eof()  # nobody is called back before the answer is out
        for call_back in promised:
            self._tell_later(service, call_back)
        return response

    async def _answer_mcp(self, request: web.Request) -> web.StreamResponse:
        if request.method != "POST":
            return web.Response(status=405)  # nothing is streamed, and there are no sessions to end
        try:
            ask = tool_call(await request.json(), _headers(request))
        except (ValueError, KeyError, AttributeError):
            ask = None  # the SDK says what is wrong with it
        if ask is None:
            return await self.desk.forward(request, None)
        meant = ask

        async def done(number: int) -> web.StreamResponse:
            self._asked[number] = meant
            try:
                return await self.desk.forward(request, number)
            finally:
                del self._asked[number]

        return await self._log_and_fail(self.services["incidents"], request, ask, done)

    async def _do_tool(self, ctx: ToolContext, tool: str, arguments: Mapping[str, Any]) -> Any:
        """What the desk answers; ToolError where it refuses. ``arguments`` are the checked ones."""
        number = int((ctx.headers or {})[CALL_HEADER])
        ask = replace(self._asked[number], path=tool, body=arguments)
        answer = self._do(self.services["incidents"], ask, number)
        if answer.status >= 300:
            raise ToolError(str(answer.body["error"]))
        return answer.body

    def _do(self, service: Service, ask: Ask, number: int) -> Answer:
        before = service.entered
        answer = service.handle(ask)
        self.calls.update(number, effect=service.entered > before, replayed=answer.replayed)
        return answer

    async def _log_and_fail(
        self,
        service: Service,
        request: web.Request,
        ask: Ask,
        done: Callable[[int], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        """What ``done`` answers, unless a fault fits: the call is in the log from its first byte to its last."""
        fault = self.faults.take(service.name, ask)
        number = self.calls.begin(service.name, ask, _in_words(fault))
        try:
            if fault and fault.kind == "slow":
                await asyncio.sleep(fault.seconds)
            if fault and fault.kind == "answer":
                self.calls.update(number, status=fault.status)
                return web.json_response(fault.body, status=fault.status, headers=dict(fault.headers))
            if fault is None or fault.kind == "slow":
                response = await done(number)
                self.calls.update(number, status=response.status)
                return response
            if fault.done:
                await done(number)
            if fault.kind == "hold":
                await self._lifted.wait()
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=503)
        finally:
            self.calls.update(number, open=False)

    def _tell_later(self, service: Service, call_back: CallBack) -> None:
        task = asyncio.create_task(self._tell(service, call_back))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self, service: Service, call_back: CallBack) -> None:
        """Calls back until somebody is there who takes it or refuses it. ``drop`` keeps it from ever calling."""
        ask = Ask("CALLBACK", call_back.url, call_back.body)
        fault = self.faults.take(service.name, ask)
        number = self.calls.begin(service.name, ask, _in_words(fault))
        try:
            if fault and fault.kind == "slow":
                await asyncio.sleep(fault.seconds)
            if fault and fault.kind == "hold":
                await self._lifted.wait()
            if fault and fault.kind == "drop":
                return
            status = await _told(call_back)
            self.calls.update(number, status=status)
        finally:
            self.calls.update(number, open=False)

    async def _show_calls(self, request: web.Request) -> web.Response:
        await self.calls.wait(int(request.query.get("version", "-1")), _LONGEST_WAIT_SECONDS)
        return web.json_response(self.calls.to_json())

    async def _show_books(self, _: web.Request) -> web.Response:
        return web.json_response({name: service.books for name, service in self.services.items()})

    async def _add_fault(self, request: web.Request) -> web.Response:
        self.faults.add(Fault(**(await request.json())))
        return web.Response(status=204)

    async def _lift_faults(self, _: web.Request) -> web.Response:
        self.lift_faults()
        return web.Response(status=204)


@asynccontextmanager
async def serving(ports: Mapping[str, int]) -> AsyncGenerator[tuple[World, dict[str, str]]]:
    """Serves every service while the block runs; port 0 (or none) is any free one. Gives the URL of each service."""
    world = World()
    runners: list[web.AppRunner] = []
    urls: dict[str, str] = {}
    try:
        for name, service in world.services.items():
            runner = web.AppRunner(world.app(service), access_log=None, shutdown_timeout=0.1)
            runners.append(runner)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", ports.get(name, 0)).start()
            urls[name] = f"http://127.0.0.1:{runner.addresses[0][1]}"
        await world.desk.open()
        yield world, urls
    finally:
        await world.desk.close()
        await world.stop_telling()
        for runner in runners:
            await runner.cleanup()


def _response(answer: Answer) -> web.Response:
    if answer.status == 204:
        return web.Response(status=204)
    if isinstance(answer.body, bytes):
        return web.Response(body=answer.body, status=answer.status, headers=dict(answer.headers))
    return web.json_response(answer.body, status=answer.status, headers=dict(answer.headers))


def _headers(request: web.Request) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


async def _told(call_back: CallBack) -> int | None:
    """The status of the answer; ``None`` when nobody who could take it was there for long."""
    status: int | None = None
    async with ClientSession() as client:
        for _ in range(_TELLING_TRIES):
            try:
                async with client.post(call_back.url, json=call_back.body) as answer:
                    status = answer.status
            except ClientError:
                status = None
            if status is not None and status < 500:
                break
            await asyncio.sleep(_TELLING_PAUSE_SECONDS)
    return status


def _in_words(fault: Fault | None) -> str | None:
    if fault is None:
        return None
    words = {
        "answer": f"answered {fault.status}",
        "drop": "dropped the connection",
        "slow": f"took {fault.seconds:g} s",
        "hold": "kept waiting",
    }[fault.kind]
    return words + (", after doing it" if fault.done else "")
