"""Attempts of kinds of work that are no HTTP, as tests want them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

from mcp_workflows.engine.outcome import Completed, Failed, Outcome, StepCall, StepError
from mcp_workflows.steps import Environment, Steps


class Calling:
    """Makes attempts; ``values`` and ``vars`` are what expressions see."""

    def __init__(self, steps: Steps, secrets: dict[str, str]) -> None:
        self.steps = steps
        self.secrets = secrets

    async def attempt(
        self,
        work: Any,
        *,
        timeout: float | None = 20.0,  # noqa: ASYNC109  # the call's own
        key: str = "key-1",
        number: int = 1,
        correction: Any = None,
        values: dict[str, Any] | None = None,
    ) -> Outcome:
        call = StepCall(
            run_id="r_1",
            path="resize[3].upload",
            attempt=number,
            work=work,
            values=values or {},
            idempotency_key=key,
            timeout=timeout,
            correction=correction,
            secrets=tuple(self.secrets),
        )
        return await self.steps.attempt(call)

    async def completed(self, work: Any, **options: Any) -> Any:
        outcome = await self.attempt(work, **options)
        assert isinstance(outcome, Completed), outcome
        return outcome.result

    async def failed(self, work: Any, **options: Any) -> StepError:
        outcome = await self.attempt(work, **options)
        assert isinstance(outcome, Failed), outcome
        return outcome.error


@contextlib.asynccontextmanager
async def calling(*, secrets: dict[str, str] | None = None, **environment: Any) -> AsyncGenerator[Calling]:
    """The options are ``Environment``'s."""
    known = secrets or {}
    steps = Steps(Environment(secret=known.get, **environment))
    try:
        yield Calling(steps, known)
    finally:
        await steps.close()
