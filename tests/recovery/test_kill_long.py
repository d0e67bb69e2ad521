"""What ``kill -9`` may not do to what takes long: send a request again whose answer is recorded, or lose a call."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest

from tests.recovery.server import Place, ServerProcess, place
from tests.services.scripted import Answer, Scripted, scripted

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

JOB = """
name: job
description: Has something made and asks until it is.
vars: {SERVICE: "http://127.0.0.1:1"}
mcp: {wait: 0s}
on_failure: fail
steps:
  - id: made
    http:
      method: POST
      url: ${vars.SERVICE}/jobs
      poll: {url: "${result.headers.location}", every: 100ms, timeout: TIMEOUT, until: "${result.body.done}"}
"""

ORDER = """
name: order
description: Orders something and waits to be told that it is there.
vars: {SERVICE: "http://127.0.0.1:1"}
mcp: {wait: 0s}
on_failure: fail
steps:
  - id: ordered
    http: {method: POST, url: "${vars.SERVICE}/orders", json: {notify: "${callback_url}"}, callback: {timeout: TIMEOUT}}
  - id: after
    http: {method: POST, url: "${vars.SERVICE}/after", json: "${steps.ordered.output}"}
"""


async def ended(server: ServerProcess, run_id: str) -> dict[str, object]:
    return await server.call("get_run", run_id=run_id, wait_seconds=30)


def waits(here: Place) -> bool:
    """The step's wait is recorded."""
    return here.read("SELECT count(*) FROM step WHERE status = 'waiting'") == [(1,)]


async def ordered(here: Place, service: Scripted, server: ServerProcess) -> tuple[str, str]:
    """A run that waits for a call: its id, and the token of the call."""
    service.on("/orders", Answer(202))
    service.on("/after", Answer(200, {"ok": True}))
    run_id = (await server.call("order"))["run_id"]
    url: str = json.loads((await service.called("/orders"))[0].body)["notify"]
    assert url.startswith(f"http://127.0.0.1:{server.port}/callbacks/")
    await here.settled(lambda: waits(here))
    return run_id, url.rpartition("/")[2]


async def call(server: ServerProcess, token: str, body: object = None) -> int:
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{server.port}/callbacks/{token}"
        async with session.post(url, json=body) as response:
            return response.status


async def test_a_poll_goes_on_through_kills_and_its_request_is_sent_once(tmp_path: Path) -> None:
    async with scripted() as service, place(tmp_path, SERVICE=service.url) as here:
        here.define("job", JOB.replace("TIMEOUT", "5m"))
        held = asyncio.Event()

        async def never(_body: bytes) -> Answer:
            await held.wait()
            return Answer(200, {"done": False})

        service.on("/jobs", Answer(202, {}, {"Location": "/jobs/7"}))
        service.on("/jobs/7", Answer(200, {"done": False}))
        server = await here.serve()
        run_id = (await server.call("job"))["run_id"]
        for _ in range(2):
            await service.called("/jobs/7", len(service.made("/jobs/7")) + 2)
            await server.kill()
            server = await here.serve()
        service.act("/jobs/7", never)
        await service.called("/jobs/7", len(service.made("/jobs/7")) + 1)
        await server.kill()
        held.set()
        service.acts.clear()
        service.on("/jobs/7", Answer(200, {"done": True, "file": "f"}))
        server = await here.serve()
        assert (await ended(server, run_id))["status"] == "completed"
        assert len(service.made("/jobs")) == 1


async def test_a_poll_whose_time_ran_out_while_nobody_was_up_asks_once_more(tmp_path: Path) -> None:
    async with scripted() as service, place(tmp_path, SERVICE=service.url) as here:
        here.define("job", JOB.replace("TIMEOUT", "1s"))
        service.on("/jobs", Answer(202, {}, {"Location": "/jobs/7", "Retry-After": "1"}))
        service.on("/jobs/7", Answer(200, {"done": True}))
        server = await here.serve()
        run_id = (await server.call("job"))["run_id"]
        await here.settled(lambda: waits(here))
        await server.kill()
        server = await here.serve()
        told = await ended(server, run_id)
        assert (told["status"], len(service.made("/jobs")), len(service.made("/jobs/7"))) == ("completed", 1, 1)


async def test_a_call_reaches_the_run_through_another_process_than_the_one_that_asked(tmp_path: Path) -> None:
    async with scripted() as service, place(tmp_path, SERVICE=service.url) as here:
        here.define("order", ORDER.replace("TIMEOUT", "1h"))
        server = await here.serve()
        run_id, token = await ordered(here, service, server)
        await server.kill()
        server = await here.serve()
        assert await call(server, token[:-1]) == 404
        assert await call(server, token, {"n": 1}) == 202
        assert (await ended(server, run_id))["status"] == "completed"
        assert await call(server, token, {"n": 2}) == 200
        assert len(service.made("/orders")) == 1
        assert [json.loads(each.body) for each in service.made("/after")] == [{"n": 1}]


async def test_a_call_that_was_answered_is_on_disk(tmp_path: Path) -> None:
    async with scripted() as service, place(tmp_path, SERVICE=service.url) as here:
        here.define("order", ORDER.replace("TIMEOUT", "1h"))
        server = await here.serve()
        run_id, token = await ordered(here, service, server)
        assert await call(server, token, {"n": 1}) == 202
        await server.kill()
        server = await here.serve()
        assert (await ended(server, run_id))["status"] == "completed"
        assert json.loads(service.made("/after")[0].body) == {"n": 1}
        assert len(service.made("/orders")) == 1


async def test_a_call_that_did_not_come_fails_the_step_in_doubt_and_is_late_then(tmp_path: Path) -> None:
    async with scripted() as service, place(tmp_path, SERVICE=service.url) as here:
        here.define("order", ORDER.replace("TIMEOUT", "300ms"))
        server = await here.serve()
        service.on("/orders", Answer(202))
        run_id = (await server.call("order"))["run_id"]
        url: str = json.loads((await service.called("/orders"))[0].body)["notify"]
        await server.kill()
        server = await here.serve()
        told = await ended(server, run_id)
        error = told["error"]
        assert isinstance(error, dict)
        assert (told["status"], error["code"], error["in_doubt"]) == ("failed", "callback_timeout", True)
        assert await call(server, url.rpartition("/")[2]) == 410


async def test_a_call_at_one_server_wakes_the_run_at_the_other(tmp_path: Path) -> None:
    async with scripted() as service, place(tmp_path, SERVICE=service.url) as here:
        here.define("order", ORDER.replace("TIMEOUT", "1h"))
        mover, other = await here.serve(), await here.serve()
        run_id, token = await ordered(here, service, mover)
        assert await call(other, token, "there") == 202
        assert (await ended(mover, run_id))["status"] == "completed"
