"""Steps for what takes long, in front of a scripted service: a clock to be set, blobs in memory, somewhere to be called."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from mcp_workflows.definition.expressions import compile_expression
from mcp_workflows.definition.program import HttpWork, Poll
from mcp_workflows.engine.outcome import Completed, Failed, Outcome, Parked, StepCall, StepError
from mcp_workflows.errors import StoreUnavailable
from mcp_workflows.steps import Environment, Steps
from mcp_workflows.steps.callback import CallbackTokens
from tests.services.scripted import Scripted, scripted
from tests.steps.calls import VARIABLES, template, work

BEGIN = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
KEY = b"k" * 32


def polling(
    url: str, until: str, *, fail_when: str | None = None, headers: Mapping[str, Any] | None = None, **more: Any
) -> Poll:
    return Poll(
        url=template(url),
        until=compile_expression(until, VARIABLES),
        fail_when=compile_expression(fail_when, VARIABLES) if fail_when else None,
        headers=tuple((name, template(value)) for name, value in (headers or {}).items()),
        **more,
    )


@dataclass(slots=True)
class MemoryBlobs:
    """What the store keeps, as far as steps see it."""

    kept: dict[tuple[str, str], tuple[bytes, str | None]] = field(
        default_factory=dict[tuple[str, str], tuple[bytes, str | None]]
    )
    unwell: bool = False

    async def put_blob(self, run_id: str, data: bytes, content_type: str | None) -> str:
        self._check()
        blob_id = f"b_{hashlib.sha256(data).hexdigest()[:32]}"
        self.kept[run_id, blob_id] = (data, content_type)
        return blob_id

    async def load_blob(self, run_id: str, blob_id: str) -> tuple[bytes, str | None] | None:
        self._check()
        return self.kept.get((run_id, blob_id))

    def _check(self) -> None:
        if self.unwell:
            raise StoreUnavailable("The database is locked.")


@dataclass(slots=True)
class LongBench:
    service: Scripted
    steps: Steps
    environment: Environment
    blobs: MemoryBlobs
    secrets: dict[str, str]
    now: datetime = BEGIN

    def clock(self) -> datetime:
        return self.now

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    async def restart(self) -> None:
        """Another process goes on: nothing is left but what was recorded."""
        await self.steps.close()
        self.steps = Steps(self.environment, clock=self.clock)

    async def run(
        self,
        its: HttpWork,
        *,
        parked: Any = None,
        number: int = 1,
        input: Any = None,  # noqa: A002  # as the language calls it
        timeout: float | None = 20.0,  # noqa: ASYNC109  # the call's own
        **call: Any,
    ) -> Outcome:
        values = {"input": input, "vars": {"BASE": self.service.url}}
        given: dict[str, Any] = {"run_id": "r_1", "path": "charge", "idempotency_key": "key-1", **call}
        return await self.steps.attempt(
            StepCall(
                attempt=number,
                work=its,
                values=values,
                timeout=timeout,
                secrets=tuple(self.secrets),
                parked=parked,
                **given,
            )
        )

    async def completed(self, its: HttpWork, **call: Any) -> Any:
        outcome = await self.run(its, **call)
        assert isinstance(outcome, Completed), outcome
        return outcome.result

    async def failed(self, its: HttpWork, **call: Any) -> StepError:
        outcome = await self.run(its, **call)
        assert isinstance(outcome, Failed), outcome
        return outcome.error

    async def parked(self, its: HttpWork, **call: Any) -> Parked:
        outcome = await self.run(its, **call)
        assert isinstance(outcome, Parked), outcome
        return outcome


@contextlib.asynccontextmanager
async def long_bench(secrets: dict[str, str] | None = None, **environment: Any) -> AsyncGenerator[LongBench]:
    """The options are ``Environment``'s."""
    known = secrets or {}
    blobs = MemoryBlobs()
    options: dict[str, Any] = {
        "blobs": blobs,
        "callback_base": "https://workflows.example",
        "callback_tokens": CallbackTokens(KEY),
        **environment,
    }
    made = Environment(secret=known.get, **options)
    async with scripted() as service:
        bench = LongBench(service, Steps(made), made, blobs, known)
        await bench.restart()
        try:
            yield bench
        finally:
            await bench.steps.close()


__all__ = ["BEGIN", "KEY", "LongBench", "MemoryBlobs", "long_bench", "polling", "work"]
