"""Resources, prompts, completions, subscriptions and discovery over stdio, from a real process, in both eras."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.subscriptions import ResourceUpdated
from mcp.types import ResourceTemplateReference, TextResourceContents
from mcp_types import ResourceUpdatedNotification

from tests.mcp_server.following import subscribe
from tests.mcp_server.place import told
from tests.mcp_server.workflows import ASK, STRICT

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_on_stdio_reads_follows_completes_and_finds(tmp_path: Path, mode: Any) -> None:
    definitions = tmp_path / "definitions"
    definitions.mkdir()
    for name, text in {"register": STRICT, "ask": ASK}.items():
        (definitions / f"{name}.yaml").write_text(text, "utf-8")
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "mcp_workflows", "serve", str(definitions)],
        env={**os.environ, "MCP_WORKFLOWS_MAX_TOOLS": "1", "MCP_WORKFLOWS_TOOL_PREFIX": "my_"},
    )
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def on_message(message: Any) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            heard.put_nowait(message.params.uri)

    async with Client(parameters, mode=mode, message_handler=on_message) as client:
        found = told(await client.call_tool("my_find_workflows", {"query": "wait for a word"}))
        assert found["workflows"][0]["name"] == "ask"
        run_id = told(await client.call_tool("my_start_workflow", {"name": "ask"}))["run_id"]
        uris = [one.uri for one in (await client.list_resources()).resources]
        assert uris == ["workflow://ask", "workflow://register", f"run://{run_id}"]
        run = ResourceTemplateReference(type="ref/resource", uri="run://{run_id}")
        assert (await client.complete(run, {"name": "run_id", "value": run_id[:6]})).completion.values == [run_id]
        assert run_id in str(await client.get_prompt("diagnose_run", {"run_id": run_id}))
        signal: dict[str, Any] = {"run_id": run_id, "name": "word", "data": {}}
        async with asyncio.timeout(20):
            if mode == "legacy":
                await subscribe(client, f"run://{run_id}")
                await client.call_tool("my_signal_run", signal)
                assert await heard.get() == f"run://{run_id}"
            else:
                async with client.listen(resource_subscriptions=[f"run://{run_id}"]) as events:
                    await client.call_tool("my_signal_run", signal)
                    assert await anext(aiter(events)) == ResourceUpdated(uri=f"run://{run_id}")
        (contents,) = (await client.read_resource(f"run://{run_id}", cache_mode="bypass")).contents
        assert isinstance(contents, TextResourceContents)
        assert json.loads(contents.text)["status"] == "completed"
