"""Calls that ask on the way, made again by hand, round by round."""

from __future__ import annotations

from typing import Any

from mcp import Client
from mcp_types import (
    ElicitResult,
    InputRequiredResult,
)

from tests.mcp_server.place import Place


async def answers_of(here: Place, run_id: str) -> list[tuple[str, str, str]]:
    """Of every message that the run was sent: who, through what, and what."""
    messages = (await here.app.runs.trace(run_id, actor=None)).messages
    return [(one.actor, one.body["via"], one.body["decision"]) for one in messages]


class Rounds:
    """One call of a tool, made again by hand."""

    def __init__(self, client: Client, tool: str, **arguments: Any) -> None:
        self._client = client
        self._tool = tool
        self._arguments = arguments

    async def first(self) -> InputRequiredResult:
        result = await self.again(None, None)
        assert isinstance(result, InputRequiredResult)
        return result

    async def again(self, responses: Any, state: str | None, **other: Any) -> Any:
        return await self._client.session.call_tool(
            other.pop("tool", self._tool), {**self._arguments, **other},
            input_responses=responses, request_state=state, allow_input_required=True,
        )  # fmt: skip


async def nobody(context: Any, params: Any) -> ElicitResult:
    raise AssertionError("the rounds are made by hand")
