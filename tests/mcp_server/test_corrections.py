"""A step that failed shows what it was asked, so that an agent can correct just that: for every kind of work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mcp_workflows.samples.faults import Fault
from tests.mcp_server.place import place, refused, told

pytestmark = pytest.mark.anyio

LABEL = """
name: print_a_label
description: Prints the label of a parcel by a function of the deployment's own.
on_failure: pause
mcp: {wait: 20s}
input: {required: [zip], properties: {zip: {type: string}}}
steps:
  - id: label
    python:
      call: print_label
      args: {address: {street: Main St, zip: "${input.zip}"}, printed: "2026-11-22"}
output: ${steps.label.output.text}
"""
SUM = """
name: sum_up
description: Sums numbers up, in a filter that takes nothing but numbers.
on_failure: pause
mcp: {wait: 20s}
input: {required: [numbers], properties: {numbers: {type: array, items: {}}}}
steps:
  - id: total
    jq: {filter: "map(. * 1) | add", input: "${input.numbers}"}
output: ${steps.total.output}
"""


PAYOUT = """
name: pay_out
description: Pays out once, whatever happens; when nobody knows, somebody finds out.
on_failure: ON_FAILURE
mcp: {wait: 20s}
vars: {SHOP_URL: http://127.0.0.1:8903}
steps:
  - id: paid
    at_most_once: true
    http: {method: POST, url: "${vars.SHOP_URL}/payments/charge", json: {amount: 12}}
output: ${steps.paid.output.id}
"""
FAILING: list[tuple[str, str, Any, Any, str, Any, Any]] = [
    (
        "print_a_label",
        LABEL,
        {"zip": "1"},
        {"args": {"address": {"street": "Main St", "zip": "1"}, "printed": "2026-11-22"}},
        '{"args":{…}}',
        {"args": {"address": {"zip": "10115"}}},
        "1 x Main St",
    ),
    ("sum_up", SUM, {"numbers": [1, {}]}, {"input": [1, {}]}, '{"input":…}', {"input": [1, 2]}, 3),
]


@pytest.mark.parametrize(("name", "text", "given", "shown", "part", "correction", "result"), FAILING)
async def test_what_was_asked_is_shown_and_can_be_corrected(
    tmp_path: Path,
    name: str,
    text: str,
    given: dict[str, Any],
    shown: dict[str, Any],
    part: str,
    correction: dict[str, Any],
    result: Any,
) -> None:
    async with (
        place(tmp_path, {name: text}, functions=("tests.steps.functions_module",)) as here,
        here.client("in process, 2026") as client,
    ):
        paused = told(await client.call_tool(name, given))
        assert (paused["status"], paused["error"]["request"]) == ("paused", shown)
        assert paused["next"].startswith(f"resume_run with request {part} or input {{…}} corrected; or cancel_run")
        run_id = paused["run_id"]

        elsewhere = await client.call_tool(
            "resume_run", {"run_id": run_id, "request": {"call": "other", "filter": "."}}
        )
        assert f"cannot be corrected here, only {next(iter(shown))}" in refused(elsewhere)

        resumed = told(await client.call_tool("resume_run", {"run_id": run_id, "request": correction}))
        assert (resumed["status"], resumed["result"]) == ("completed", result)


@pytest.mark.parametrize("on_failure", ["pause", "fail"])
async def test_a_step_that_may_have_run_its_only_time_is_not_offered_again_without_a_look(
    tmp_path: Path, on_failure: str
) -> None:
    text = PAYOUT.replace("ON_FAILURE", on_failure)
    async with place(tmp_path, {"pay_out": text}) as here, here.client("in process, 2026") as client:
        here.world.faults.add(Fault("shop", "POST", "/payments/charge", "drop", done=True))
        stopped = told(await client.call_tool("pay_out", {}))
        assert (stopped["error"]["code"], stopped["error"]["in_doubt"]) == ("reset", True)
        assert "t is unknown whether paid took place: find out, then resume_run with output {…}" in stopped["next"]
        run_id = stopped["run_id"]
        assert "Find out, then give output" in refused(await client.call_tool("resume_run", {"run_id": run_id}))
        resumed = told(await client.call_tool("resume_run", {"run_id": run_id, "output": {"id": "c_1"}}))
        assert (resumed["status"], resumed["result"]) == ("completed", "c_1")
        assert here.times_called("/payments/charge") == 1
