"""Services that call back wrongly, or never: the run takes one genuine call in time and nothing else."""

from __future__ import annotations

import base64
import json

import httpx2
import pytest

from mcp_workflows.clock import new_id
from tests.mcp_server.place import told
from tests.misuse.place import Server
from tests.services.scripted import Answer, Scripted

pytestmark = pytest.mark.anyio

JSON = {"Content-Type": "application/json"}


async def begun(server: Server, service: Scripted, workflow: str = "callback") -> tuple[str, str]:
    """A run whose service has taken the request: its id, and where it is to be called back."""
    service.on("/jobs", Answer(202, {"job": 1}))
    run = told(await server.call(workflow, url=service.url, _idempotency_key=new_id("k_")))
    (call,) = await service.called("/jobs")
    return str(run["run_id"]), str(json.loads(call.body)["call"])


async def test_garbage_and_forged_calls_take_nothing_and_the_genuine_one_is_taken_once(
    server: Server, service: Scripted
) -> None:
    run_id, url = await begun(server, service)
    made_up = base64.urlsafe_b64encode(b"x" * 60).decode().rstrip("=")
    async with httpx2.AsyncClient(trust_env=False) as client:
        for forged in (
            url[:-3] + "AAA",
            f"{server.base}/callbacks/{made_up}",
            f"{server.base}/callbacks/..%2f..%2fhealthz",
        ):
            answer = await client.post(forged, json={"state": "stolen"})
            assert answer.status_code == 404
        assert (await client.post(url[:-3] + "AAA")).json() == {"error": "no such callback"}
        for content, status, said in [
            (b"{", 400, "Nothing was taken: the body is no JSON"),
            (b'"\\u0000"', 400, "Nothing was taken: the body holds a NUL character"),
            (b"[" * 100_000, 400, "Nothing was taken"),
            (b'"' + b"x" * (1 << 20) + b'"', 413, "larger than 1048576 bytes"),
        ]:
            answer = await client.post(url, content=content, headers=JSON)
            assert (answer.status_code, said in answer.json()["error"]) == (status, True), answer.text
        assert (await client.get(url)).status_code == 405
        assert (await client.post(url, json={"state": "done"})).status_code == 202
        again = await client.post(url, json={"state": "other"})
        assert (again.status_code, again.json()["status"]) == (200, "ignored")
        run = await server.run("get_run", run_id=run_id, wait_seconds=20)
        assert (run["status"], run["result"]) == ("completed", {"state": "done"})
        assert (await client.post(url, json={"state": "other"})).status_code == 200
    assert (await server.run("get_run", run_id=run_id))["result"] == {"state": "done"}


async def test_a_call_that_comes_too_late_is_gone_and_the_run_says_that_it_is_in_doubt(
    server: Server, service: Scripted
) -> None:
    run_id, url = await begun(server, service, "short_callback")
    run = await server.run("get_run", run_id=run_id, wait_seconds=20)
    assert (run["status"], run["error"]["code"], run["error"]["in_doubt"]) == ("paused", "callback_timeout", True)
    assert run["error"]["message"].startswith("the service took the request and did not call back in time")
    async with httpx2.AsyncClient(trust_env=False) as client:
        late = await client.post(url, json={"state": "done"})
    assert (late.status_code, late.json()) == (410, {"error": "nothing waits for this call any more"})
    assert "with output {…} takes that for job" in run["next"]
    resumed = await server.run("resume_run", run_id=run_id, output={"state": "done"})
    assert (resumed["status"], resumed["result"]) == ("completed", {"state": "done"})


async def test_a_poll_that_never_becomes_done_ends_in_doubt_and_shows_the_last_answer(
    server: Server, service: Scripted
) -> None:
    service.on("/jobs", Answer(202, {"job": 1}))
    service.on("/jobs/1", Answer(200, {"state": "running"}))
    run = await server.run("poll", url=service.url)
    error = run["error"]
    assert (run["status"], error["step"], error["code"], error["in_doubt"]) == ("paused", "job", "poll_timeout", True)
    assert error["message"].startswith("poll was not over after 0.4 s and ")
    assert error["message"].endswith('The last: GET /jobs/1 answered 200: {"state":"running"}')
    assert len(service.made("/jobs")) == 1


async def test_an_until_that_does_not_fit_the_answer_is_told_with_the_answer(server: Server, service: Scripted) -> None:
    service.on("/jobs", Answer(202, {"job": 1}))
    service.on("/jobs/1", Answer(200, ["not", "an", "object"]))
    run = await server.run("poll", url=service.url)
    error = run["error"]
    assert (run["status"], error["step"], error["code"], error["in_doubt"]) == ("paused", "job", "expression", True)
    assert error["message"] == (
        'GET /jobs/1 answered 200, but poll: result.body is a list, so it has no "state", in ${result.body.state == "done"}'
    )
    assert len(service.made("/jobs")) == 1


@pytest.mark.parametrize(
    ("blob", "said"),
    [
        ({"blob": "b_00000000000000000000000000", "size": 1}, "this run has no such blob"),
        ({"blob": "../../../etc/passwd", "size": 1}, "this run has no such blob"),
        ("b_00000000000000000000000000", "this run has no such blob"),
        ({"blob": 7}, "expected a blob"),
        (None, "expected a blob"),
    ],
)
async def test_a_blob_that_is_made_up_is_not_sent(server: Server, service: Scripted, blob: object, said: str) -> None:
    run = await server.run("blob", url=service.url, blob=blob, _idempotency_key=new_id("k_"))
    error = run["error"]
    assert (run["status"], error["step"], error["code"], error["in_doubt"]) == (
        "paused",
        "send",
        "invalid_request",
        False,
    )
    assert said in error["message"]
    assert service.calls == []
