"""Work that blocks, raises, gives what cannot be kept, or whose other side goes away in the middle."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mcp_workflows.clock import new_id
from tests.misuse.place import Server

pytestmark = pytest.mark.anyio


async def failed(server: Server, workflow: str, **arguments: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A run that paused at its failed step: the run, and why."""
    run = await server.run(workflow, **arguments, _idempotency_key=new_id("k_"))
    assert run["status"] == "paused", run
    assert run["next"].endswith("or cancel_run (there is nothing to undo).")
    return run, run["error"]


async def test_a_jq_filter_that_does_not_end_is_ended(server: Server) -> None:
    _, error = await failed(server, "endless_jq")
    assert (error["step"], error["code"], error["in_doubt"]) == ("spin", "timeout", False)
    assert error["message"] == "the jq filter took longer than 1 s, and had no effect"


@pytest.mark.parametrize("function", ["block", "block_the_loop"])
async def test_a_function_that_blocks_holds_up_nobody(server: Server, function: str) -> None:
    begun = asyncio.create_task(failed(server, "function", what=function))
    async with asyncio.timeout(5):
        assert (await server.run("alive"))["status"] == "completed"
    run, error = await begun
    assert (error["step"], error["code"], error["in_doubt"]) == (f"does.{function}.python#1", "timeout", True)
    assert (
        error["message"] == f'the function "{function}" took longer than 0.3 s, and may have taken effect all the same'
    )
    assert run["next"].startswith(f"resume_run tries does.{function}.python#1 again")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("error", """the function "raises" raised KeyError: 'no such file: s3cr3t-value'"""),
        ("exit", 'the function "raises" raised SystemExit: 3'),
        ("stop", 'the function "raises" raised StopIteration'),
    ],
)
async def test_a_function_that_raises_is_a_failed_step_in_doubt(server: Server, kind: str, said: str) -> None:
    run, error = await failed(server, "function", what="raises", kind=kind)
    assert (error["step"], error["code"], error["in_doubt"]) == ("does.raises.python#1", "python_error", True)
    assert error["message"].startswith(said)
    assert "Traceback" in server.log
    assert run["next"].startswith("resume_run with ")
    resumed = await server.run("resume_run", run_id=run["run_id"], output={"by": "hand"})
    assert (resumed["status"], resumed["result"]) == ("completed", {"by": "hand"})


@pytest.mark.parametrize("kind", ["object", "nan", "big", "nul", "surrogate", "deep", "self", "coroutine", "bytes"])
async def test_a_function_that_returns_no_json_is_a_failed_step_in_doubt(server: Server, kind: str) -> None:
    _, error = await failed(server, "function", what="returns", kind=kind)
    assert (error["step"], error["code"], error["in_doubt"]) == ("does.returns.python#1", "not_json", True)
    assert error["message"].startswith('the function "returns" was called, but what it returned ')


async def test_a_tool_server_that_disappears_in_the_middle_of_a_call_is_started_again(server: Server) -> None:
    assert (await server.run("tool", does="echo"))["result"] == "hello"
    run, error = await failed(server, "tool", does="vanish")
    assert (error["step"], error["code"], error["in_doubt"]) == ("call.vanish.mcp_tool#1", "reset", True)
    assert error["message"] == 'the tool "vanish" of tools: the connection was lost before an answer came'
    assert run["next"].startswith("resume_run tries call.vanish.mcp_tool#1 again")
    assert (await server.run("tool", does="echo", _idempotency_key=new_id("k_")))["result"] == "hello"


async def test_of_calls_in_flight_when_a_tool_server_disappears_each_is_told(server: Server) -> None:
    ends = await asyncio.gather(*(failed(server, "tool", does="vanish") for _ in range(4)))
    assert {error["code"] for _, error in ends} <= {"reset", "connect"}
    assert (await server.run("tool", does="echo", _idempotency_key=new_id("k_")))["result"] == "hello"


@pytest.mark.parametrize(
    ("does", "said"),
    [("fail", "the printer is on fire"), ("nothing", "Unknown tool: nothing")],
)
async def test_a_tool_that_refuses_is_quoted(server: Server, does: str, said: str) -> None:
    _, error = await failed(server, "tool", does=does)
    assert (error["code"], error["in_doubt"], error["message"].endswith(said)) == ("tool_error", False, True)
