"""Serves the sample services over HTTP, each on its own port of the loopback interface, with a control path beside.

``/_samples/calls?version=N`` answers the call log as soon as it is newer than N; ``/_samples/books`` what the services
hold; ``POST /_samples/faults`` adds a fault, ``DELETE`` lifts all and lets held calls go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from mcp_workflows.samples.calls import CallLog
from mcp_workflows.samples.faults import Fault, Faults
from mcp_workflows.samples.service import Answer, Ask, Service
from mcp_workflows.samples.services import all_services

CONTROL = "/_samples"
_LONGEST_WAIT_SECONDS = 10.0


class World:
    """All the services with one call log and one list of faults."""

    def __init__(self) -> None:
        self.services = all_services()
        self.calls = CallLog()
        self.faults = Faults()
        self._lifted = asyncio.Event()

    def app(self, service: Service) -> web.Application:
        """The HTTP application of one service; every one of them has the control paths."""
        app = web.Application(client_max_size=4 << 20)
        app.router.add_get(f"{CONTROL}/calls", self._show_calls)
        app.router.add_get(f"{CONTROL}/books", self._show_books)
        app.router.add_post(f"{CONTROL}/faults", self._add_fault)
        app.router.add_delete(f"{CONTROL}/faults", self._lift_faults)

        async def answer(request: web.Request) -> web.StreamResponse:
            return await self._answer(service, request)

        app.router.add_route("*", "/{path:.*}", answer)
        return app

    async def _answer(self, service: Service, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        if body is None:
            return web.json_response({"error": "the body is no JSON object"}, status=400)
        headers = {name.lower(): value for name, value in request.headers.items()}
        ask = Ask(request.method, request.path, body, dict(request.query), headers)
        fault = self.faults.take(service.name, ask)
        number = self.calls.begin(service.name, ask, _in_words(fault))
        try:
            return await self._answer_or_fail(service, request, ask, number, fault)
        finally:
            self.calls.update(number, open=False)

    async def _answer_or_fail(
        self, service: Service, request: web.Request, ask: Ask, number: int, fault: Fault | None
    ) -> web.StreamResponse:
        if fault and fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
        if fault and fault.kind == "answer":
            self.calls.update(number, status=fault.status)
            return web.json_response(fault.body, status=fault.status, headers=dict(fault.headers))
        if fault is None or fault.done or fault.kind == "slow":
            answer = service.handle(ask)
            effect = answer.status < 300 and not answer.replayed and ask.method != "GET"
            self.calls.update(number, effect=effect, replayed=answer.replayed)
        else:
            answer = Answer(503, {"error": "cut off"})
        if fault and fault.kind == "hold":
            await self._lifted.wait()
        if fault and fault.kind in {"hold", "drop"}:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=503)
        self.calls.update(number, status=answer.status)
        return _response(answer)

    async def _show_calls(self, request: web.Request) -> web.Response:
        await self.calls.wait(int(request.query.get("version", "-1")), _LONGEST_WAIT_SECONDS)
        return web.json_response(self.calls.to_json())

    async def _show_books(self, _: web.Request) -> web.Response:
        return web.json_response({name: service.books for name, service in self.services.items()})

    async def _add_fault(self, request: web.Request) -> web.Response:
        self.faults.add(Fault(**(await request.json())))
        return web.Response(status=204)

    async def _lift_faults(self, _: web.Request) -> web.Response:
        self.faults.clear()
        self._lifted.set()
        self._lifted = asyncio.Event()
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
        yield world, urls
    finally:
        for runner in runners:
            await runner.cleanup()


def _response(answer: Answer) -> web.Response:
    if answer.status == 204:
        return web.Response(status=204)
    return web.json_response(answer.body, status=answer.status, headers=dict(answer.headers))


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


async def _body(request: web.Request) -> dict[str, Any] | None:
    if not await request.read():
        return {}
    try:
        body: Any = await request.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None  # pyright: ignore[reportUnknownVariableType]
