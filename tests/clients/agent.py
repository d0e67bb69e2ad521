"""An agent of pydantic-ai whose model is a script. Arguments, as JSON: url or command, tasks, answer (none: no forms).

It orders a desk as a model would: it calls the tool, reads what it is told, and follows the run until it need not any more.
All that the model was told goes to stdout as one line of JSON.
"""
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from fastmcp.client.transports import StdioTransport
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

if not json.loads(sys.argv[1])["tasks"]:
    sys.modules["fastmcp_tasks"] = None  # type: ignore[assignment]  # as where it is not installed


async def main(given: dict[str, Any]) -> dict[str, Any]:
    seen: dict[str, Any] = {"tools": [], "told": [], "refused": [], "asked": []}

    def model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        seen["tools"] = [tool.name for tool in info.function_tools]
        last = messages[-1].parts[-1]
        if isinstance(last, UserPromptPart):
            return ModelResponse([ToolCallPart("order", {"thing": "a desk"})])
        told = last.content
        if isinstance(told, str):
            seen["refused"].append(told)
            return ModelResponse([ToolCallPart("order", {"item": "a desk"})])
        seen["told"].append(told)
        if told["status"] in ("running", "waiting") and len(seen["told"]) < 3:
            return ModelResponse([ToolCallPart("get_run", {"run_id": told["run_id"], "wait_seconds": 1})])
        return ModelResponse([TextPart(told["status"])])

    async def person(message: str, response_type: Any, params: Any, context: Any) -> dict[str, Any]:
        seen["asked"].append(message)
        return given["answer"]

    transport = given.get("url") or StdioTransport(given["command"], given["args"], env=given["env"])
    toolset = MCPToolset(transport, elicitation_handler=person if given["answer"] else None, include_instructions=True)
    agent = Agent(FunctionModel(model), toolsets=[toolset])
    async with agent:
        seen["said"] = (await agent.run("Order a desk.")).output
    return seen


print(json.dumps(asyncio.run(main(json.loads(sys.argv[1])))))  # noqa: T201
