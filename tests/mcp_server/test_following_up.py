"""What an agent does with runs beyond the usual, over every transport and in both eras: cancel, read in parts, find again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.mcp_server.place import TRANSPORTS, place, refused, told
from tests.mcp_server.workflows import LARGE, ORDER, PAUSING, SLOW, ended

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("transport", TRANSPORTS)]


async def test_a_paused_order_is_cancelled_and_undone(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"saga": PAUSING}) as here, here.client(transport) as client:
        paused = await ended(client, told(await client.call_tool("saga_order_fulfillment", ORDER)))
        assert paused["status"] == "paused"
        cancelled = told(
            await client.call_tool("cancel_run", {"run_id": paused["run_id"], "reason": "the customer left"})
        )
        cancelled = await ended(client, cancelled)
        assert (cancelled["status"], cancelled["compensation"]) == ("cancelled", "done")
        assert cancelled["undone"] == ["charge", "reserve"]
        assert here.times_called("/payments/refund") == 1

        trace = told(await client.call_tool("get_run", {"run_id": paused["run_id"], "select": "trace"}))["selected"]
        (message,) = trace["messages"]
        assert (message["kind"], message["actor"], message["reason"]) == ("cancel", "local", "the customer left")


async def test_a_run_is_cancelled_without_being_undone_where_asked(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"saga": PAUSING}) as here, here.client(transport) as client:
        paused = await ended(client, told(await client.call_tool("saga_order_fulfillment", ORDER)))
        asked = {"run_id": paused["run_id"], "compensate": False}
        cancelled = await ended(client, told(await client.call_tool("cancel_run", asked)))
        assert cancelled["status"] == "cancelled"
        assert "undone" not in cancelled
        assert here.times_called("/payments/refund") == 0


async def test_a_large_result_is_read_in_pieces(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"large": LARGE}) as here, here.client(transport) as client:
        large = told(await client.call_tool("install_all_from_inventory", {}))
        assert large == {
            "run_id": large["run_id"],
            "status": "completed",
            "result_omitted": {
                "bytes": large["result_omitted"]["bytes"],
                "shape": "{installed: [412 \N{MULTIPLICATION SIGN} {device}]}",
                "resource": f"run://{large['run_id']}/result",
            },
            "next": "Read a part: get_run with select result.installed[0:20].",
        }
        read: list[Any] = []
        select = "result.installed[0:20]"
        while select:
            part = told(await client.call_tool("get_run", {"run_id": large["run_id"], "select": select}))
            assert part["of"] == 412
            read += part["selected"]
            select = part.get("next", "").removeprefix("For more: get_run with select ").removesuffix(".")
        assert [one["device"] for one in read] == [f"device-with-a-name-that-is-long-{number}" for number in range(412)]

        whole = told(await client.call_tool("get_run", {"run_id": large["run_id"], "select": "result.installed"}))
        assert "selected" not in whole
        smaller = re.fullmatch(r"Read less of it: get_run with select (.*)\.", whole["next"])
        assert smaller is not None
        part = told(await client.call_tool("get_run", {"run_id": large["run_id"], "select": smaller[1]}))
        assert len(part["selected"]) > 50


async def test_what_is_lost_is_found_again(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"slow": SLOW, "large": LARGE}) as here, here.client(transport) as client:
        waiting = told(await client.call_tool("slow_one", {"_idempotency_key": "k1"}))
        assert waiting["status"] == "waiting"
        assert re.fullmatch(
            r"It goes on by itself at \S+Z \(in 59 min\)\. Call get_run then; nobody has to answer\.", waiting["next"]
        )
        done = told(await client.call_tool("install_all_from_inventory", {"count": 1}))

        (line,) = told(await client.call_tool("list_runs", {}))["runs"]
        assert re.fullmatch(r"\d+ s", line.pop("age"))
        assert line == {
            "run_id": waiting["run_id"],
            "workflow": "slow_one",
            "version": 1,
            "status": "waiting",
            "idempotency_key": "k1",
        }
        listed = told(await client.call_tool("list_runs", {"status": "any", "since": "2h"}))["runs"]
        assert [run["run_id"] for run in listed] == [done["run_id"], waiting["run_id"]]
        by_key = told(await client.call_tool("list_runs", {"status": "any", "idempotency_key": "k1"}))["runs"]
        assert [run["run_id"] for run in by_key] == [waiting["run_id"]]
        first = told(await client.call_tool("list_runs", {"status": "any", "limit": 1}))
        second = told(
            await client.call_tool("list_runs", {"status": "any", "limit": 1, "cursor": first["next_cursor"]})
        )
        assert [page["runs"][0]["run_id"] for page in (first, second)] == [done["run_id"], waiting["run_id"]]

        shortened = told(await client.call_tool("get_run", {"run_id": waiting["run_id"][:10]}))
        assert shortened["run_id"] == waiting["run_id"]
        unknown = refused(await client.call_tool("cancel_run", {"run_id": "r_zz"}))
        assert re.fullmatch(
            rf"No run r_zz that you may see\. Your open runs: {waiting['run_id']} slow_one waiting \d+ s\. "
            r"list_runs with status any shows finished ones\.",
            unknown,
        )
        late = told(await client.call_tool("cancel_run", {"run_id": done["run_id"]}))
        assert (late["status"], late["next"]) == ("completed", late["next"])
        assert re.fullmatch(r"Nothing to cancel: it ended \d+ s ago\.", late["next"])

        cancelled = told(await client.call_tool("cancel_run", {"run_id": waiting["run_id"]}))
        assert await ended(client, cancelled) == {"run_id": waiting["run_id"], "status": "cancelled"}


async def test_the_same_key_is_the_same_run_and_never_another_input(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"large": LARGE}) as here, here.client(transport) as client:
        keyed = {"count": 1, "_idempotency_key": "k1"}
        first = told(await client.call_tool("install_all_from_inventory", keyed))
        again = told(await client.call_tool("install_all_from_inventory", keyed))
        assert (again["run_id"], again["joined"], again["result"]) == (first["run_id"], True, first["result"])
        other = await client.call_tool("install_all_from_inventory", {**keyed, "count": 2})
        assert refused(other) == (
            f'_idempotency_key "k1" belongs to {first["run_id"]} with other input (differs in: count). Use another key.'
        )
        fresh = told(await client.call_tool("install_all_from_inventory", {"count": 1}))
        assert fresh["run_id"] != first["run_id"], "a finished run is not joined without a key"
