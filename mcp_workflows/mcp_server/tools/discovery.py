"""More workflows than a model can be shown as tools: which of them stay tools, and how the others are found.

Decided when the files are loaded, the same for every connection. None is left out silently: what is no tool can be found by
``find_workflows`` and started by ``start_workflow``, and the server's instructions say so.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeAlias, cast

from mcp_types import CallToolResult, Tool, ToolAnnotations

from mcp_workflows.definition.program import Definition, Json
from mcp_workflows.mcp_server.caller import Caller
from mcp_workflows.mcp_server.tools.answers import Answer, answer
from mcp_workflows.mcp_server.tools.built_in import Arguments, BuiltIn
from mcp_workflows.mcp_server.tools.workflow_tools import ASKS, IDEMPOTENCY_KEY, KEY_SCHEMA
from mcp_workflows.mcp_server.views.run_object import LARGEST_RESULT
from mcp_workflows.mcp_server.views.shape import size_of

MAX_TOOLS = 30
"""Workflows that are all tools, if nothing says otherwise."""
FIND, START = "find_workflows", "start_workflow"
MOST = 5
"""Workflows that one search tells in full."""
_NAMED = 50
_NAME, _TITLE, _ARGUMENT, _DESCRIPTION = 6, 3, 3, 2
"""What a word of the query weighs where it is found; half of it where only its beginning is."""
_SHORTEST_BEGINNING = 3
_SAY_NOTHING = frozenset(
    {"a", "an", "and", "by", "for", "from", "in", "is", "it", "my", "of", "on", "or", "the", "to", "with"}
)

Start: TypeAlias = Callable[[str, Arguments, Caller], Awaitable[Answer]]
"""Starts the workflow of a name with what its own tool would be given."""


class Discovery:
    """What the tools do. ``visible``: the workflows that agents may know of, at the moment."""

    def __init__(self, visible: Callable[[], Mapping[str, Definition]], start: Start) -> None:
        self._visible = visible
        self._start = start

    async def find(self, arguments: Arguments, _caller: Caller) -> Answer:
        return find(self._visible(), arguments["query"])

    async def start(self, arguments: Arguments, caller: Caller) -> Answer:
        key = {IDEMPOTENCY_KEY: arguments[IDEMPOTENCY_KEY]} if IDEMPOTENCY_KEY in arguments else {}
        return await self._start(arguments["name"], {**arguments.get("input", {}), **key}, caller)


DISCOVERY_TOOLS: tuple[BuiltIn[Discovery], ...] = (
    BuiltIn(
        Tool(
            name=FIND,
            description="Finds workflows that are no tools of their own: name, description and inputSchema of those that fit.",
            input_schema={
                "type": "object",
                "properties": {"query": {"type": "string", "description": "What is to be done, or a name"}},
                "required": ["query"],
                "additionalProperties": False,
            },
            annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False),
        ),
        Discovery.find,
    ),
    BuiltIn(
        Tool(
            name=START,
            description="Starts a workflow by name. Durable: follow it with get_run.",
            input_schema={
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "input": {"type": "object", "description": "As its inputSchema says"},
                    IDEMPOTENCY_KEY: KEY_SCHEMA,
                },
                "required": ["name"],
                "additionalProperties": False,
            },
            annotations=ToolAnnotations(read_only_hint=False, destructive_hint=True, open_world_hint=True),
        ),
        Discovery.start,
    ),
)


def shown(definitions: Mapping[str, Definition]) -> dict[str, Definition]:
    """The workflows that agents may know of, by name."""
    return {name: definitions[name] for name in sorted(definitions) if definitions[name].mcp.expose != "none"}


def tools_among(visible: Mapping[str, Definition], max_tools: int) -> dict[str, Definition]:
    """Those that are tools of their own: all, or those whose files ask for it where there are more than ``max_tools``."""
    if len(visible) <= max_tools:
        return dict(visible)
    return {name: definition for name, definition in visible.items() if definition.mcp.expose == "tool"}


def find(visible: Mapping[str, Definition], query: str) -> CallToolResult:
    """The best fitting ones in full, as many as fit into one answer, and the names of others."""
    fitting = _ranked(visible, query)
    told: list[Json] = []
    size = 0
    for name in fitting[:MOST]:
        one = _entry(visible[name])
        size += size_of(one)
        if told and size > LARGEST_RESULT:
            break
        told.append(one)
    others = fitting[len(told) :] if told else list(visible)
    found: dict[str, Json] = {"workflows": told}
    if others:
        found["others"] = others[:_NAMED]
    if len(others) > _NAMED:
        found["others_omitted"] = len(others) - _NAMED
    found["next"] = _next(told, others)
    return answer(found)


def _next(told: list[Json], others: list[str]) -> str:
    if told:
        return f"{START} with name and input starts one."
    if others:
        return f"Nothing fits. Call {FIND} with other words, or with one of the other names to read its inputSchema."
    return "There are no workflows here."


def _entry(definition: Definition) -> dict[str, Json]:
    sentences = [definition.description.strip(), ASKS if definition.asks_person else ""]
    return {
        "name": definition.name,
        "description": " ".join(filter(None, sentences)),
        "inputSchema": dict(definition.input_schema),
    }


def _ranked(visible: Mapping[str, Definition], query: str) -> list[str]:
    wanted = set(_words(query)) - _SAY_NOTHING
    scores = {name: sum(_score(definition, word) for word in wanted) for name, definition in visible.items()}
    scores |= {name: 1000 for name in visible if name == query.strip()}
    return sorted((name for name, score in scores.items() if score), key=lambda name: (-scores[name], name))


def _score(definition: Definition, word: str) -> int:
    arguments = cast("Mapping[str, Json]", definition.input_schema.get("properties", {}))
    fields = (
        (_NAME, _words(definition.name)),
        (_TITLE, _words(definition.title or "")),
        (_ARGUMENT, [part for name in arguments for part in _words(name)]),
        (_DESCRIPTION, _words(definition.description)),
    )
    return max(weight * _fits(word, words) // 2 for weight, words in fields)


def _fits(word: str, words: Iterable[str]) -> int:
    """2: it is one of them; 1: one of them begins like it, or it like one of them."""
    known = list(words)
    if word in known:
        return 2
    return int(any(_begins(word, other) or _begins(other, word) for other in known))


def _begins(beginning: str, word: str) -> bool:
    return len(beginning) >= _SHORTEST_BEGINNING and word.startswith(beginning)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.casefold())
