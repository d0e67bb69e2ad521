"""Requests that are not what they say: too large, too deep, in batches, of one id, of a wrong length, hidden in one another."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from mcp_workflows.runtime.views import RunQuery
from tests.attacks.stage import soon, stage
from tests.attacks.wire import MODERN_META, TASKS, call, legacy, message, opened, request, wire
from tests.mcp_server.place import told, until

pytestmark = pytest.mark.anyio

ALL = RunQuery(status="any", limit=50)
DEPTHS = (65, 300, 600, 900, 990, 5_000, 200_000)


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def with_nested(body: Any, depth: int) -> bytes:
    """``body`` as JSON, with what reads "NESTED" nested so deeply."""
    return json.dumps(body).replace('"NESTED"', nested(depth)).encode()


async def test_what_is_nested_too_deeply_is_refused_wherever_it_stands(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With a valid token, in both eras; nothing is recorded of it, nothing is logged as a defect, and the server goes on."""
    async with stage(tmp_path) as on, wire(on.url) as anna:
        who = on.header("anna")
        run_id = (await on.waiting("anna")).run_id
        session = await opened(anna, who)
        content = {"decision": "approved", "more": "NESTED"}
        answer = {"action": "accept", "content": content}
        bodies = [
            call("large", text="NESTED"),
            call("large", text="x", _idempotency_key="NESTED"),
            call("signal_run", run_id=run_id, name="ask", data={"decision": "approved", "form": {"more": "NESTED"}}),
            call("resume_run", run_id=run_id, input="NESTED"),
            call("get_run", run_id=run_id, select="NESTED"),
            call("list_runs", mine=True, since="NESTED"),
            message("tasks/update", {"taskId": run_id, "inputResponses": {"ask#1": answer}}, meta=TASKS),
            message("tasks/update", {"taskId": run_id, "inputResponses": {"ask#1": "NESTED"}}, meta=TASKS),
            message("tools/call", {"name": "waiting", "arguments": {}, "requestState": "x", "inputResponses": {"a": "NESTED"}}),
            message("subscriptions/listen", {"notifications": {"taskIds": "NESTED"}}, meta=TASKS),
            message("tools/list", {"cursor": "NESTED"}),
            message("tools/list", meta={**MODERN_META, "more": "NESTED"}),
            message("tools/list", number="NESTED"),
        ]  # fmt: skip
        with caplog.at_level(logging.ERROR):
            for body in bodies:
                for depth in DEPTHS:
                    raw = with_nested(body, depth)
                    if body["method"] == "subscriptions/listen":
                        async with wire(on.url) as stream:
                            stream.request(raw, {**who, **routing(body)})
                            assert await stream.status() in {200, 400}
                        continue
                    anna.request(raw, {**who, **routing(body)})
                    status, said = await anna.answer()
                    assert_refused(body, depth, status, said)
                    if body["params"].get("_meta") == MODERN_META:
                        anna.request(raw, {**who, "Mcp-Session-Id": session})
                        status, said = await anna.answer()
                        assert_refused(body, depth, status, said)
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR], caplog.text
        assert [run.run_id for run in (await on.here.app.runs.list(ALL)).runs] == [run_id]
        assert not (await on.here.app.runs.trace(run_id, actor=None)).messages
        await served(on)


def assert_refused(body: Any, depth: int, status: int, said: bytes) -> None:
    what = (body["method"], depth, status, said[:300])
    if status == 202 and body["id"] == "NESTED":
        return  # what has no id that could be answered is taken for a notification
    assert status in {200, 400}, what
    assert b"Internal error" not in said, what
    assert b"-32603" not in said, what
    ignored = body["method"] == "tools/list" and "more" in body["params"]["_meta"]
    assert ignored or b'"isError":true' in said or b'"error"' in said, what


async def test_a_thousand_messages_in_one_are_none(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, wire(on.url) as anna:
        who = on.header("anna")
        session = await opened(anna, who)
        for headers in (
            {"Mcp-Session-Id": session},
            {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call"},
        ):
            for size in (1, 2, 1000):
                anna.request([call("large", number=number, text="x") for number in range(size)], {**who, **headers})
                assert (await anna.answer())[0] == 400
        assert not (await on.here.app.runs.list(ALL)).runs


async def test_two_requests_under_one_id_are_two_and_of_two_sessions_in_nobody_s_way(tmp_path: Path) -> None:
    """An id is the client's own; the same one in another session, or on another connection, is another request."""
    async with stage(tmp_path) as on, wire(on.url) as anna, wire(on.url) as eve:
        mine, theirs = (await on.waiting("anna")).run_id, (await on.waiting("eve")).run_id
        for client, actor, run_id in ((anna, "anna", mine), (eve, "eve", theirs)):
            client.request(call("get_run", number=7, run_id=run_id), on.header(actor))
            status, said = await client.answer()
            assert (status, run_id.encode() in said) == (200, True)
        sessions = {actor: await opened(one, on.header(actor)) for one, actor in ((anna, "anna"), (eve, "eve"))}
        poll = legacy("get_run", 7, run_id=mine, wait_seconds=50)
        anna.request(poll, {**on.header("anna"), "Mcp-Session-Id": sessions["anna"]})
        await anna.until(b"\r\n\r\n")
        await until(lambda: on.here.server.waiting == 1, soon)
        cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}}
        for headers in ({"Mcp-Session-Id": sessions["eve"]}, {"MCP-Protocol-Version": "2026-07-28"}):
            eve.request(cancel, {**on.header("eve"), **headers})
            assert (await eve.answer())[0] == 202
        eve.request(cancel, {**on.header("eve"), "Mcp-Session-Id": sessions["anna"]})
        assert (await eve.answer())[0] == 404
        assert on.here.server.waiting == 1, "nobody else cancels it"
        await on.here.app.runs.signal(mine, "ask", {"decision": "approved"}, actor="anna", via="mcp", person=False)
        assert b'"completed' in await anna.until(b"completed")


async def test_requests_sent_without_waiting_are_answered_in_their_order(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, wire(on.url) as anna:
        anna.send(b"".join(request(on.url, call("list_runs", number=n), on.header("anna")) for n in range(200)))
        for number in range(200):
            status, said = await anna.answer()
            assert (status, json.loads(said)["id"]) == (200, number)


async def test_a_request_that_hides_another_one_is_one_request(tmp_path: Path) -> None:
    """What proxies and servers may take for the end of a body in different ways is refused, or ends the connection."""
    async with stage(tmp_path) as on:
        who = on.header("anna")
        hidden = request(on.url, call("large", text="hidden"), who)
        shown = json.dumps(call("list_runs")).encode()
        modern = {**who, "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "list_runs"}
        chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(shown), shown)
        for content, headers in (
            (chunked + hidden, {"Content-Length": str(len(chunked + hidden)), "Transfer-Encoding": "chunked"}),
            (shown + hidden, {"Content-Length": f"{len(shown)}, {len(shown + hidden)}"}),
            (shown + hidden, {"Content-Length": f"+{len(shown)}"}),
            (shown + hidden, {"Content-Length": "-1"}),
            (shown + hidden, {"Content-Length": "0x10"}),
            (chunked + hidden, {"Content-Length": "", "Transfer-Encoding": "xchunked"}),
            (chunked + hidden, {"Content-Length": "", "Transfer-Encoding": "chunked, identity"}),
            (b"ffffffffffffffffffffff\r\n" + shown + hidden, {"Content-Length": "", "Transfer-Encoding": "chunked"}),
            (shown + hidden, {"Content-Length": "", "Transfer-Encoding": "chunked"}),
            (shown + hidden, {"X: y\r\nContent-Length": str(len(shown + hidden)), "Content-Length": str(len(shown))}),
        ):
            async with wire(on.url) as anna:
                anna.request(content, {**modern, **headers})
                assert await anna.ended(), headers
        for bad in ("a\r\n b", "a\x00b", "a\nb", "a\rb"):
            async with wire(on.url) as anna:
                anna.request(shown, {**modern, "Mcp-Name": bad})
                assert await anna.status() == 400
        assert not (await on.here.app.runs.list(ALL)).runs


async def test_a_body_that_would_grow_is_not_unpacked(tmp_path: Path) -> None:
    bomb = gzip.compress(b" " * (256 << 20), 9)
    async with stage(tmp_path) as on, wire(on.url) as anna:
        for encoding in ("gzip", "deflate", "br", "gzip, gzip"):
            headers = {**on.header("anna"), "MCP-Protocol-Version": "2026-07-28", "Content-Encoding": encoding}
            anna.request(bomb, headers)
            status, said = await anna.answer()
            assert (status, b"Parse error" in said) == (400, True)
        await served(on)


async def test_what_is_too_large_is_turned_away_in_every_place(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        who = on.header("anna")
        large = "x" * (5 << 20)
        for body, headers, statuses in (
            (call("large", text=large), {}, {413}),
            (b"", {"Content-Length": str(1 << 60)}, {413, 400}),
            (b"", {"X-Large": "x" * 100_000}, {400}),
            (b"", {f"X-{number}": "x" * 60 for number in range(2000)}, {400}),
            (b"", {"Authorization": "Bearer " + "x" * 20_000}, {401}),
            (b"", {"Mcp-Session-Id": "x" * 20_000}, {404}),
            (call("get_run", run_id="r_" + "0" * 3_000_000), {}, {200, 400}),
        ):  # fmt: skip
            async with wire(on.url) as anna:
                anna.request(body, {**who, **headers})
                assert await anna.status() in statuses, str(headers)[:80]
        async with wire(on.url) as anna:
            anna.request(b"", who, method="GET", path="/mcp?" + "x" * 70_000)
            assert await anna.status() == 400
        await served(on)


async def served(on: Any) -> None:
    async with asyncio.timeout(10), on.actors.client(on.url, "anna") as client:
        assert told(await client.call_tool("list_runs", {}))


def routing(body: Any) -> dict[str, str]:
    params = body["params"]
    named = params.get("name") or params.get("taskId")
    known = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": body["method"]}
    return known | ({"Mcp-Name": named} if named else {})
