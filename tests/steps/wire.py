"""A service that answers byte for byte what a test says, and what a client makes of it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

from mcp_workflows.engine.outcome import Completed, Failed, StepCall
from mcp_workflows.steps import Environment, Steps
from tests.services.raw import Answer, Raw, raw
from tests.steps.calls import work

OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{"next":true}'


@dataclass(slots=True)
class Told:
    """What came of the attempt under test, and of one after it."""

    outcome: Completed | Failed
    reused: bool

    @property
    def code(self) -> str:
        return self.outcome.error.code if isinstance(self.outcome, Failed) else "completed"

    @property
    def body(self) -> Any:
        assert isinstance(self.outcome, Completed), self.outcome
        return self.outcome.result["body"]


class Asking:
    def __init__(self, service: Raw, steps: Steps) -> None:
        self.service = service
        self._steps = steps

    async def attempt(self, method: str = "POST", **options: Any) -> Completed | Failed:
        made = work(f"{self.service.url}/x", method, **options)
        outcome = await self._steps.attempt(StepCall("r_1", "ask", 1, made, {}, "key", 5.0))
        assert isinstance(outcome, Completed | Failed)
        return outcome

    async def close(self) -> None:
        await self._steps.close()

    async def told(self, pieces: Sequence[bytes], then: Any = "keep", method: str = "POST", **options: Any) -> Told:
        """What a service that answers with ``pieces`` brings about, and whether the next request took its connection."""
        answer = Answer(pieces, then)
        self.service.answers += [answer, Answer([OK])]
        sent = len(self.service.requests)
        outcome = await self.attempt(method, **options)
        assert len(self.service.requests) == sent + 1, "sent once"
        await answer.said.wait()
        before = self.service.connections
        self.service.read_bodies = True
        following = await self.attempt("GET")
        assert isinstance(following, Completed), following
        assert following.result["body"] == {"next": True}, "no other request's answer"
        return Told(outcome, self.service.connections == before)


@contextlib.asynccontextmanager
async def asking(host: str = "127.0.0.1") -> AsyncGenerator[Asking]:
    async with raw(host=host) as service:
        steps = Steps(Environment())
        try:
            yield Asking(service, steps)
        finally:
            await steps.close()
