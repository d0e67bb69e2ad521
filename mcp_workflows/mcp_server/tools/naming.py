"""A prefix before the names of all tools, where a deployment wants one: nothing else knows of it.

Calls lose it on their way in. On the way out lists, instructions and whatever tells a model to call one of the tools get it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

Wire = dict[str, Any]


class Naming:
    """A middleware. ``tools`` are the names that texts may speak of; those of workflows are not among them."""

    def __init__(self, prefix: str, tools: Iterable[str]) -> None:
        self._prefix = prefix
        self._spoken_of = re.compile(rf"\b({'|'.join(map(re.escape, tools))})\b")

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        if ctx.method == "tools/call":
            ctx = replace(ctx, params=self._without(ctx.params or {}))
        result = await call_next(ctx)
        return self._named(ctx.method, result) if isinstance(result, dict) else result

    def _without(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        name = params.get("name")
        return {**params, "name": name.removeprefix(self._prefix)} if isinstance(name, str) else params

    def _named(self, method: str, result: Wire) -> Wire:
        match method:
            case "tools/list":
                return {**result, "tools": [self._tool(tool) for tool in result["tools"]]}
            case "tools/call" | "tasks/get":
                return self._answer(result)
            case "initialize" | "server/discover":
                return {**result, "instructions": self._text(result["instructions"])}
            case "prompts/get" | "resources/read":
                return self._texts(result)
            case _:
                return result

    def _tool(self, tool: Wire) -> Wire:
        described = {"description": self._text(tool["description"])} if "description" in tool else {}
        return {**tool, "name": f"{self._prefix}{tool['name']}", **described}

    def _answer(self, result: Wire) -> Wire:
        """Only what we say ourselves: a run's own data is nobody's to change."""
        if isinstance(result.get("result"), dict):  # of a task
            return {**result, "result": self._answer(result["result"])}
        told = cast("Wire | None", result.get("structuredContent"))
        if told is not None and isinstance(told.get("next"), str):
            told = {**told, "next": self._text(told["next"])}
            text = json.dumps(told, ensure_ascii=False, separators=(",", ":"))
            return {**result, "structuredContent": told, "content": [{"type": "text", "text": text}]}
        return self._texts(result) if result.get("isError") and told is None else result

    def _texts(self, result: Wire) -> Wire:
        """Of everything in it that is a text for a reader."""
        if "messages" in result:
            return {
                **result,
                "messages": [{**one, "content": self._block(one["content"])} for one in result["messages"]],
            }
        if "contents" in result:
            return {**result, "contents": [self._document(one) for one in result["contents"]]}
        return {**result, "content": [self._block(one) for one in result["content"]]}

    def _block(self, block: Wire) -> Wire:
        return {**block, "text": self._text(block["text"])} if isinstance(block.get("text"), str) else block

    def _document(self, contents: Wire) -> Wire:
        """Only documents: what is JSON is a run's own."""
        return self._block(contents) if contents.get("mimeType") == "text/markdown" else contents

    def _text(self, text: str) -> str:
        return self._spoken_of.sub(lambda found: f"{self._prefix}{found[1]}", text)
