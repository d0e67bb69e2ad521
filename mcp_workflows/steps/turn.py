"""Waiting for a place among other attempts."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Hashable
from contextlib import asynccontextmanager

from mcp_workflows.steps.attempt import Attempt
from mcp_workflows.steps.gate import Gate


@asynccontextmanager
async def in_turn(gate: Gate, key: Hashable, attempt: Attempt) -> AsyncGenerator[None]:
    """The block runs when there is a place. A crowd is nobody's slowness: the attempt's time begins then."""
    if not gate.enter(key):
        deadline = attempt.deadline
        if deadline is not None:
            deadline.suspend()
        await gate.wait(key)
        if deadline is not None:
            deadline.renew()
    try:
        yield
    finally:
        gate.leave(key)
