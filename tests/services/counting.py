"""A service that counts what it is asked to do, by idempotency key, and can be told to hold or to refuse.

Like a good payment service it carries each key out once and answers a repetition with its first answer; unlike one, it
remembers every call.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Call:
    """One request as it came in."""

    number: int
    method: str
    path: str
    key: str | None
    body: Any
    answered: bool = False


@dataclass
class Rule:
    """How the next ``times`` calls to a path go. ``hold``: they are not answered until the rule is lifted."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    hold: bool = False
    times: int = 1_000_000


class CountingService:
    """``calls`` in the order in which they came; ``delay`` seconds pass before each answer.

    ``most_at_once``: how many of them were here together.
    """

    def __init__(self, delay: float = 0.0) -> None:
        self.calls: list[Call] = []
        self.delay = delay
        self.url = ""
        self.most_at_once = 0
        self._rules: dict[str, Rule] = {}
        self._changed = asyncio.Condition()

    def rule(self, path: str, rule: Rule) -> None:
        self._rules[path] = rule

    async def lift(self, path: str) -> None:
        """Take the rule away; held calls are answered."""
        self._rules.pop(path, None)
        async with self._changed:
            self._changed.notify_all()

    def made(self, path: str) -> list[Call]:
        return [call for call in self.calls if call.path == path]

    def keys(self) -> Counter[str]:
        return Counter(call.key for call in self.calls if call.key)

    async def seen(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        """Until ``condition`` holds, which is looked at whenever a call comes in or is answered."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(condition)

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        call = Call(len(self.calls), request.method, request.path, request.headers.get("Idempotency-Key"), body)
        self.calls.append(call)
        self.most_at_once = max(self.most_at_once, sum(not one.answered for one in self.calls))
        rule = self._rules.get(call.path)
        async with self._changed:
            self._changed.notify_all()
            if rule is not None and rule.hold:
                await self._changed.wait_for(lambda: self._rules.get(call.path) is not rule)
        if self.delay:
            await asyncio.sleep(self.delay)
        call.answered = True
        async with self._changed:
            self._changed.notify_all()
        if rule is not None and not rule.hold and rule.times > 0:
            rule.times -= 1
            return web.json_response({"error": "refused"}, status=rule.status, headers=rule.headers)
        return web.json_response({"id": f"{call.path.strip('/')}-{call.key}"})


@asynccontextmanager
async def counting_service(delay: float = 0.0) -> AsyncGenerator[CountingService]:
    """Served on a free port of the loopback interface while the block runs."""
    service = CountingService(delay)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", service.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield service
    finally:
        await runner.cleanup()
