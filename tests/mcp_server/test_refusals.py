"""What is said to calls that are wrong: one text that says what happened, what state that leaves, and what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.mcp_server.place import TRANSPORTS, place, refused, text_of, told, until
from tests.mcp_server.workflows import LARGE, SLOW, STRICT

pytestmark = pytest.mark.anyio


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        (
            "register",
            {"email": "nobody", "plan": "gold"},
            'Input refused, no run was started. email: "nobody" is no email. plan: "gold" is not one of free, pro.',
        ),
        ("register", {}, "Input refused, no run was started. email: is missing."),
        (
            "register",
            {"email": "a@b.org", "pln": "pro"},
            'Input refused, no run was started. pln: is not known. Did you mean "plan"?',
        ),
        (
            "register",
            {"email": "a@b.org", "_idempotency_key": 7},
            "Input refused, no run was started. _idempotency_key: 7 is not a string.",
        ),
        (
            "register",
            {"email": "a@b.org", "_idempotency_key": "a\x00b"},
            "Input refused, no run was started. _idempotency_key: expected 1 to 200 printable characters.",
        ),
        (
            "register",
            {"email": "a@b.org", "anything": nested(100)},
            "Input refused, no run was started. The input is nested deeper than 64 levels.",
        ),
        (
            "register",
            {"email": "a@b.org", "anything": 2**63},
            "Input refused, no run was started. anything: the integer does not fit 64 bits; send it as a string.",
        ),
        (
            "registr",
            {"email": "a@b.org"},
            'No tool "registr", nothing was started. Did you mean "register"?',
        ),
        (
            "unlike anything",
            {},
            (
                'No tool "unlike anything", nothing was started. Tools here: install_all_from_inventory, register, slow_one, '
                "get_run, list_runs, signal_run, resume_run, cancel_run."
            ),
        ),
        ("get_run", {}, "Arguments refused, nothing was changed. run_id: is missing."),
        (
            "get_run",
            {"run_id": "r_1", "wait_seconds": 60},
            "Arguments refused, nothing was changed. wait_seconds: 60 is too large, expected at most 50.",
        ),
        (
            "get_run",
            {"run_id": "r_1", "select": "output.x"},
            (
                'Arguments refused, nothing was changed. select "output.x" is not known. '
                "It begins with result, input, error, steps or trace."
            ),
        ),
        (
            "get_run",
            {"run_id": "r_00000000"},
            "No run r_00000000 that you may see. You have no open runs; list_runs with status any shows finished ones.",
        ),
        (
            "get_run",
            {"run_id": "r_' OR 1=1 --"},
            (
                "No run r_' OR 1=1 -- that you may see. You have no open runs; "
                "list_runs with status any shows finished ones."
            ),
        ),
        (
            "get_run",
            {"run_id": "r_\x00"},
            "Arguments refused, nothing was changed. run_id: holds the character NUL, which is not taken anywhere.",
        ),
        (
            "list_runs",
            {"since": "yesterday"},
            (
                'Arguments refused, nothing was changed. since: "yesterday" is neither an ISO time nor a time like 30m, '
                "2h or 7d."
            ),
        ),
        (
            "list_runs",
            {"status": "done"},
            (
                'Arguments refused, nothing was changed. status: "done" is not one of open, needs_input, paused, completed, '
                "failed, cancelled, any."
            ),
        ),
        (
            "resume_run",
            {"run_id": "r_00000000", "output": nested(100)},
            "Arguments refused, nothing was changed. The input is nested deeper than 64 levels.",
        ),
    ],
)
async def test_a_wrong_call_is_told_what_is_wrong(
    tmp_path: Path, tool: str, arguments: Mapping[str, Any], said: str
) -> None:
    definitions = {"register": STRICT, "large": LARGE, "slow": SLOW}
    async with place(tmp_path, definitions) as here, here.client("in process, 2026") as client:
        assert refused(await client.call_tool(tool, dict(arguments))) == said
        assert told(await client.call_tool("list_runs", {"status": "any"})) == {"runs": []}


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_an_argument_of_two_mebibytes_is_refused_and_the_server_goes_on(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"register": STRICT}) as here, here.client(transport) as client:
        huge = await client.call_tool("register", {"email": "a@b.org", "anything": "x" * (2 * 1024 * 1024)})
        assert refused(huge).startswith("Input refused, no run was started. The input is 2,097,")
        run = told(await client.call_tool("register", {"email": "a@b.org"}))
        assert run["result"] == {"seen": "a@b.org"}


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_text_with_nul_is_refused_as_an_input_as_it_is_from_a_service(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"register": STRICT}) as here, here.client(transport) as client:
        said = refused(await client.call_tool("register", {"email": "a@b.org", "anything": "a\x00b"}))
        assert (
            said == "Input refused, no run was started. anything: holds the character NUL, which is not taken anywhere."
        )


async def test_a_workflow_whose_file_is_broken_says_where(tmp_path: Path) -> None:
    async with place(tmp_path, {"register": STRICT.replace("input.email", "input.emial")}) as here:
        async with here.client("in process, 2026") as client:
            said = text_of(await client.call_tool("register", {"email": "a@b.org"}))
        assert said.startswith('Workflow "register" is not served: its file is broken, ')
        assert "register.yaml:" in said
        assert "emial" in said


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_whoever_broke_a_file_is_told_that_its_last_good_version_was_run(tmp_path: Path, transport: str) -> None:
    async with place(tmp_path, {"register": STRICT}) as here, here.client(transport) as client:
        catalog, changes = here.app.catalog, asyncio.Queue[None]()
        catalog.on_change(lambda: changes.put_nowait(None))
        here.define("register", STRICT.replace("input.email", "input.emial"))
        await until(lambda: "emial" in str(catalog.broken_behind("register")), changes.get)
        run = told(await client.call_tool("register", {"email": "a@b.org"}))
        assert run["result"] == {"seen": "a@b.org"}
        file = here.folder / "definitions" / "register.yaml"
        assert run["next"] == (
            f'Workflow "register" is broken in {file}:10:25 (expr: unknown name "input.emial". Input has email, plan, '
            "anything); its last good version 1 is served."
        )
        assert "next" not in told(await client.call_tool("get_run", {"run_id": run["run_id"]}))
        here.define("register", STRICT)
        await until(lambda: catalog.broken_behind("register") is None, changes.get)
        assert "next" not in told(await client.call_tool("register", {"email": "a@b.org"}))


async def test_select_reads_every_part_of_a_run(tmp_path: Path) -> None:
    async with place(tmp_path, {"register": STRICT}) as here, here.client("in process, 2026") as client:
        run_id = told(await client.call_tool("register", {"email": "a@b.org"}))["run_id"]

        async def part(select: str) -> Any:
            answer = told(await client.call_tool("get_run", {"run_id": run_id, "select": select}))
            assert {name: answer[name] for name in ("run_id", "workflow", "version", "status")} == {
                "run_id": run_id,
                "workflow": "register",
                "version": 1,
                "status": "completed",
            }
            return answer["selected"]

        assert await part("result") == {"seen": "a@b.org"}
        assert await part("result.seen[0:1]") == "a"
        assert await part("input") == {"email": "a@b.org"}
        assert await part("steps.one.output") == {"x": 1}
        (line,) = await part("steps")
        assert (line["path"], line["kind"], line["status"]) == ("one", "set", "completed")
        assert "output" not in line
        assert (await part("trace"))["steps"][0]["output"] == {"x": 1}
        missing = await client.call_tool("get_run", {"run_id": run_id, "select": "steps.two.output"})
        assert refused(missing) == (
            'Arguments refused, nothing was changed. select "steps.two.output": no such step is recorded. Recorded: one.'
        )
