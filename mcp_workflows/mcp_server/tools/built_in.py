"""A tool that is no workflow: an entry says what is published of it, what answers it, and who may call it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeAlias, TypeVar

from mcp_types import Tool

from mcp_workflows.definition.program import Json
from mcp_workflows.mcp_server.caller import Caller
from mcp_workflows.mcp_server.tools.answers import Answer, refusal
from mcp_workflows.mcp_server.tools.arguments import ArgumentsRefused, check_against
from mcp_workflows.mcp_server.views import refusals

T = TypeVar("T")
Arguments: TypeAlias = Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Right:
    """What a caller's token must allow: ``scope``, which is wanted to ``do`` it."""

    scope: str
    do: str


@dataclass(frozen=True, slots=True)
class BuiltIn(Generic[T]):
    """One entry of a table of tools. ``handler`` is given arguments that fit the tool's schema, of a caller that may do it.

    Each name must be one of ``BUILT_IN_TOOLS``, which no workflow can have.
    """

    tool: Tool
    handler: Callable[[T, Arguments, Caller], Awaitable[Answer]]
    right: Right | None = None
    """``None``: whoever may call anything may call it."""

    async def call(self, owner: T, arguments: Arguments, caller: Caller) -> Answer:
        try:
            check_against(self.tool, arguments)
        except ArgumentsRefused as refused:
            return refusal(refusals.arguments_refused(str(refused)))
        if self.right is not None and not caller.holds(self.right.scope):
            return refusal(refusals.may_not(caller.actor, self.right.do, self.right.scope))
        return await self.handler(owner, arguments, caller)


@dataclass(frozen=True, slots=True)
class Offered:
    """A built-in tool of one server."""

    tool: Tool
    call: Callable[[Arguments, Caller], Awaitable[Answer]]


def offered(tools: Iterable[BuiltIn[T]], owner: T) -> list[Offered]:
    """Those tools, answered by ``owner``."""
    return [Offered(one.tool, partial(one.call, owner)) for one in tools]
