"""What ``python`` steps call: they give back what they get."""

from __future__ import annotations

from mcp_workflows import function


@function
async def async_echo(n: int) -> dict[str, int]:
    return {"n": n}


@function
def sync_echo(n: int) -> dict[str, int]:
    return {"n": n}
