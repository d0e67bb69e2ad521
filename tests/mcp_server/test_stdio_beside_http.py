"""A server on stdio, as a desktop client starts it, beside one over HTTP on the same database: real processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from tests.mcp_server.place import refused, told
from tests.mcp_server.test_stdio import command

pytestmark = pytest.mark.anyio


async def test_on_stdio_a_person_is_sent_to_the_page_of_the_server_over_http_while_it_is_up(tmp_path: Path) -> None:
    arguments = command(tmp_path)
    over_http = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, *arguments, "--http", "127.0.0.1:0"],
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert over_http.stderr is not None
        line = ""
        while "http://127.0.0.1" not in line:
            line = over_http.stderr.readline()
            assert line, "the server ended at once"
        address = line[line.index("http://") :].split("/mcp")[0].strip()
        async with Client(StdioServerParameters(command=sys.executable, args=arguments)) as client:
            while "url" not in (wait := (run := told(await client.call_tool("ask_first", {})))["waiting_for"][0]):
                assert "command" in wait  # it has only just come, and said nothing of itself yet
            assert wait["url"].startswith(f"{address}/a/")
            assert "give the user the url" in run["next"]
            async with httpx2.AsyncClient() as person:
                assert (await person.get(wait["url"])).status_code == 200
            answer = {"run_id": run["run_id"], "name": wait["name"], "data": {"decision": "approved"}}
            assert wait["url"] in refused(await client.call_tool("signal_run", answer))

            over_http.kill()
            over_http.wait()
            while "command" not in (
                wait := told(await client.call_tool("get_run", {"run_id": run["run_id"]}))["waiting_for"][0]
            ):
                assert "url" in wait  # not yet known to be dead
    finally:
        over_http.kill()
        over_http.communicate()
