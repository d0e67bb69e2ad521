"""Resources: workflows as documents, the caller's runs as traces and results, and nothing of anybody else's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp.types import TextResourceContents

from mcp_workflows.mcp_server.pages import PAGE
from mcp_workflows.mcp_server.views.trace_document import LARGEST_TRACE
from tests.mcp_server.others import FOREIGN, HIDDEN, run_of_another
from tests.mcp_server.place import SAGA, TRANSPORTS, edited, place, told
from tests.mcp_server.workflows import LARGE, SLOW, STRICT

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("transport", TRANSPORTS)]


async def read(client: Client, uri: str) -> str:
    """The one text of a resource."""
    (contents,) = (await client.read_resource(uri)).contents
    assert isinstance(contents, TextResourceContents)
    assert contents.uri == uri
    return contents.text


async def not_there(client: Client, uri: str) -> dict[str, Any]:
    """What is said of a resource that the caller may not see, but for the address itself."""
    with pytest.raises(MCPError) as refused:
        await client.read_resource(uri)
    error = refused.value.error
    return {"code": error.code, "message": error.message.replace(uri, "X"), "data": str(error.data).replace(uri, "X")}


async def test_workflows_and_own_runs_are_listed_and_read(tmp_path: Path, transport: str) -> None:
    async with (
        place(tmp_path, {"register": STRICT, "saga": SAGA, "x": HIDDEN}) as here,
        here.client(transport) as client,
    ):
        run = told(await client.call_tool("register", {"email": "a@b.org"}))
        await run_of_another(here)
        listed = (await client.list_resources()).resources
        assert [one.uri for one in listed] == [
            "workflow://register",
            "workflow://saga_order_fulfillment",
            f"run://{run['run_id']}",
        ]
        assert listed[1].title == "Fulfil an order"
        assert listed[2].title == "register: completed"
        document = await read(client, "workflow://saga_order_fulfillment")
        assert document.startswith("# Fulfil an order\n\n`saga_order_fulfillment`, version 1. Start it with the tool")
        assert '"order_id"' in document
        assert "```mermaid\nflowchart TD\n" in document
        trace = json.loads(await read(client, f"run://{run['run_id']}"))
        assert (trace["status"], trace["actor"], trace["input"]) == ("completed", "local", {"email": "a@b.org"})
        assert [step["path"] for step in trace["steps"]] == ["one"]
        assert json.loads(await read(client, f"run://{run['run_id']}/result")) == {"seen": "a@b.org"}
        short = run["run_id"][:12]
        assert json.loads(await read(client, f"run://{short}"))["run_id"] == run["run_id"]


async def test_what_may_not_be_seen_is_told_of_like_what_is_not_there(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"register": STRICT, "x": HIDDEN}) as here, here.client(transport) as client:
        foreign = await run_of_another(here)
        unknown = await not_there(client, f"run://{FOREIGN}")
        assert unknown["code"] == (-32602 if transport.endswith("2026") else -32002)
        assert unknown["message"] == "No resource X that you may see."
        for uri in (
            f"run://{foreign}", f"run://{foreign}/result", f"run://{foreign[:12]}", f"run://{FOREIGN}/result", "run://r_",
            "workflow://internal", "workflow://nothing", "file:///etc/passwd", "run://../x", "workflow://", "", "x" * 5000,
        ):  # fmt: skip
            said = await not_there(client, uri)
            assert said["code"] == unknown["code"]
            assert len(said["message"]) < 200


async def test_a_result_that_is_not_there_yet_is_said_to_be_so(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"slow": SLOW}) as here, here.client(transport) as client:
        run = told(await client.call_tool("slow_one", {}))
        with pytest.raises(MCPError, match=f"{run['run_id']} is (running|waiting) and has no result. Read run://"):
            await client.read_resource(f"run://{run['run_id']}/result")


async def test_a_large_result_is_read_whole_and_a_large_trace_is_bounded(tmp_path: Path, transport: str) -> None:
    large = edited(LARGE, ("device-with", "device-" * 50 + "with"))
    async with place(tmp_path, {"large": large}) as here, here.client(transport) as client:
        run = told(await client.call_tool("install_all_from_inventory", {"count": 900}))
        whole = json.loads(await read(client, run["result_omitted"]["resource"]))
        assert len(whole["installed"]) == 900
        text = await read(client, f"run://{run['run_id']}")
        assert len(text) <= LARGEST_TRACE
        trace = json.loads(text)
        assert [step["path"] for step in trace["steps"]] == ["installed"]
        assert "output" not in trace["steps"][0]
        assert "get_run" in trace["omitted"]


async def test_the_list_comes_in_pages_and_holds_the_newest_runs_only(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"register": STRICT}) as here, here.client(transport) as client:
        ids = [
            (await here.app.runs.start("register", {"email": f"a{number}@b.org"}, actor="local")).run_id
            for number in range(PAGE + 10)
        ]
        first = await client.list_resources()
        assert len(first.resources) == PAGE
        await here.app.runs.start("register", {"email": "new@b.org"}, actor="local")
        second = await client.list_resources(cursor=first.next_cursor)
        assert second.next_cursor is None
        uris = [one.uri for one in first.resources + second.resources]
        assert len(uris) == len(set(uris))
        assert set(uris[1:]) <= {f"run://{one}" for one in ids}
        for cursor in ("", "garbage", "\u00e9", "cmVzb3VyY2Vz"):
            with pytest.raises(MCPError, match="No nextCursor of resources/list reads like this one") as garbage:
                await client.list_resources(cursor=cursor)
            assert garbage.value.error.code == -32602
        templates = await client.list_resource_templates()
        assert [one.uri_template for one in templates.resource_templates] == [
            "workflow://{name}",
            "run://{run_id}",
            "run://{run_id}/result",
        ]
