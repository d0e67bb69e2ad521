"""What makes attempts when a test says so."""

from __future__ import annotations

import asyncio

from mcp_workflows.engine.outcome import Completed, Outcome, StepCall


class Doer:
    """Answers a call when it is told to."""

    def __init__(self) -> None:
        self.asked, self.answer = asyncio.Event(), asyncio.Event()
        self.outcome: Outcome = Completed({"status": 200, "headers": {}, "body": "paid"})

    async def attempt(self, call: StepCall) -> Outcome:
        self.asked.set()
        await self.answer.wait()
        return self.outcome
