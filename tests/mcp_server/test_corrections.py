"""A step that failed shows what it was asked, so that an agent can correct just that: for every kind of work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

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
