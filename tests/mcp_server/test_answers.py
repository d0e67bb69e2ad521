"""What services put into results reaches the client whole, or as near to it as a transport can carry."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from mcp_workflows.mcp_server.tools.answers import answer, refusal
from tests.mcp_server.place import TRANSPORTS, place, text_of, told
from tests.services.misbehaving import misbehaving

DEFINITION = """
name: fetch
description: Fetches what a service has to say.
mcp: {{wait: 20s}}
steps:
  - id: said
    http: {{url: "{url}/body", query: {{type: application/json, b64: "{body}"}}}}
output: ${{steps.said.output}}
"""


@pytest.mark.anyio
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"pair":"\\ud83d\\ude00","line":"\\u2028"}', None),
        (b'{"half":"a\\ud800b"}', "half of a surrogate pair"),
        (b'{"nul":"a\\u0000b"}', "a NUL character"),
    ],
)
async def test_what_a_service_answers_reaches_the_client_or_is_said_to_be_broken(
    tmp_path: Path, transport: str, body: bytes, found: str | None
) -> None:
    async with misbehaving() as service:
        definition = DEFINITION.format(url=service.url, body=base64.urlsafe_b64encode(body).decode())
        async with place(tmp_path, {"fetch": definition}) as here, here.client(transport) as client:
            answered = await client.call_tool("fetch", {})
            run = told(answered)
            if found is None:
                assert run["result"] == {"pair": "\N{GRINNING FACE}", "line": "\u2028"}
            else:
                assert answered.is_error
                assert run["error"]["code"] == "answer_unreadable"
                assert found in run["error"]["message"]
                assert run["next"].startswith("Nothing was undone.")


@pytest.mark.anyio
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_result_that_breaks_its_schema_does_not_cost_the_client_its_answer(
    tmp_path: Path, transport: str
) -> None:
    definition = """
name: promise
description: Promises a text and gives a number.
mcp: {wait: 20s}
steps:
  - id: made
    set: {id: 7}
output: {id: "${steps.made.output.id}"}
output_schema: {type: object, properties: {id: {type: string}}, required: [id]}
"""
    async with place(tmp_path, {"promise": definition}) as here, here.client(transport) as client:
        await client.list_tools()
        run = told(await client.call_tool("promise", {}))
        assert run == {
            "run_id": run["run_id"],
            "status": "completed",
            "result_omitted": {"bytes": 8, "shape": "{id}", "resource": f"run://{run['run_id']}/result"},
            "next": "The result does not fit its output_schema (result.id: 7 is an integer, expected string). "
            "Read it: get_run with select result.",
        }
        part = told(await client.call_tool("get_run", {"run_id": run["run_id"], "select": "result"}))
        assert part["selected"] == {"id": 7}


def test_halves_of_surrogate_pairs_are_replaced_at_every_depth() -> None:
    told: dict[str, Any] = {"a\ud800": ["\udfff", {"b": "x\ud83dy", "n": [1, None, True]}]}
    whole = answer(told)
    mark = "\N{REPLACEMENT CHARACTER}"
    assert whole.structured_content == {f"a{mark}": [mark, {"b": f"x{mark}y", "n": [1, None, True]}]}
    whole.model_dump_json()
    assert text_of(refusal("no \ud800")) == "no ?"
