"""What the ``python`` steps of the soak call: the ledger, under the step's own key."""

from __future__ import annotations

from typing import Any

import aiohttp

import mcp_workflows


@mcp_workflows.function
async def act(ledger: str, node: str) -> dict[str, Any]:
    """An effect of a function. What goes wrong on the way leaves it in doubt, and is worth another attempt."""
    headers = {"Idempotency-Key": mcp_workflows.step().idempotency_key, "X-Node": node}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(2)) as session,
            session.post(f"{ledger}/do/figure", json={}, headers=headers) as response,
        ):
            response.raise_for_status()
            return await response.json()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise mcp_workflows.StepFailed(
            f"the ledger did not answer: {error!r}", code="ledger", in_doubt=True, retryable=True
        ) from error
