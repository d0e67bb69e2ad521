"""What ``kill -9`` may not do: lose a run, or call again what is recorded.

Real server processes on one SQLite file, a real service that counts calls by idempotency key, the official MCP client.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tests.recovery.server import ServerProcess, place
from tests.services.counting import CountingService, Rule, counting_service

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

SIX_STEPS = """
name: six_steps
description: Six calls one after the other, each with its own key.
input: {required: [n], properties: {n: {type: integer}}}
vars: {SERVICE: "http://127.0.0.1:1"}
mcp: {wait: 0s, join: "off"}
defaults: {retry: {max_attempts: 10, delay: 50ms}}
on_failure: fail
steps:
""" + "".join(
    f'  - id: s{n}\n    http: {{method: POST, url: "${{vars.SERVICE}}/s{n}", json: {{n: "${{input.n}}"}}}}\n'
    for n in range(6)
)

UNDONE = (
    """
name: undone
description: Three steps that are undone because the fourth is refused.
vars: {SERVICE: "http://127.0.0.1:1"}
mcp: {wait: 0s}
steps:
"""
    + "".join(
        f"""
  - id: {name}
    http: {{method: POST, url: "${{vars.SERVICE}}/{name}"}}
    compensate:
      http: {{method: POST, url: "${{vars.SERVICE}}/undo-{name}"}}
"""
        for name in "abc"
    )
    + """
  - id: refused
    http: {method: POST, url: "${vars.SERVICE}/refused"}
"""
)

BACKOFF = """
name: backoff
description: One step that is refused at first and tried again.
vars: {SERVICE: "http://127.0.0.1:1"}
mcp: {wait: 0s}
on_failure: fail
steps:
  - id: before
    http: {method: POST, url: "${vars.SERVICE}/before"}
  - id: busy
    http: {method: POST, url: "${vars.SERVICE}/busy"}
    retry: {max_attempts: 3, backoff: fixed, delay: 2s, jitter: false}
"""

ONCE = """
name: once
description: One payment that must not be made twice.
vars: {SERVICE: "http://127.0.0.1:1"}
mcp: {wait: 0s}
on_failure: fail
steps:
  - id: pay
    at_most_once: true
    http: {method: POST, url: "${vars.SERVICE}/pay"}
  - id: mail
    http: {method: POST, url: "${vars.SERVICE}/mail"}
"""


def called_again(service: CountingService, since: int, recorded: set[str]) -> set[str]:
    """Steps that were recorded when call number ``since`` came in, and were called after that."""
    return {call.key for call in service.calls[since:] if call.key} & recorded


async def start_runs(server: ServerProcess, tool: str, count: int) -> list[str]:
    async with server.client() as client:
        run_ids: list[str] = []
        for n in range(count):
            result = await client.call_tool(tool, {"n": n})
            assert result.structured_content is not None, result.content
            run_ids.append(result.structured_content["run_id"])
    return run_ids


@pytest.mark.timeout(600)
async def test_200_runs_complete_through_20_kills_and_nothing_recorded_is_called_again(tmp_path: Path) -> None:
    """200 runs of six calls; the kills come at random moments over their course. A server is started 21 times."""
    dice = random.Random(20261122)
    async with counting_service(delay=0.08) as service, place(tmp_path, SERVICE=service.url) as here:
        here.define("six_steps", SIX_STEPS)
        service.rule("/s0", Rule(hold=True))
        serving = await here.serve(MAX_ATTEMPTS="16")
        run_ids = await start_runs(serving, "six_steps", 200)
        await service.lift("/s0")
        for moment in sorted(dice.sample(range(40, 1100), 20)):
            await service.seen(lambda moment=moment: len(service.calls) >= moment)
            await serving.kill()
            recorded, calls = here.recorded(), len(service.calls)
            serving = await here.serve(MAX_ATTEMPTS="16")
            await service.seen(lambda calls=calls: len(service.calls) > calls or not here.unfinished())
            assert called_again(service, calls, recorded) == set()
        await here.settled(lambda: here.statuses() == {"completed": 200})
        wanted = {f"{run_id}:s{n}" for run_id in run_ids for n in range(6)}
        assert set(service.keys()) == wanted
        assert here.recorded() == wanted


async def test_a_backoff_goes_on_after_a_kill_with_its_number_and_its_instant(tmp_path: Path) -> None:
    async with counting_service() as service, place(tmp_path, SERVICE=service.url) as here:
        here.define("backoff", BACKOFF)
        service.rule("/busy", Rule(status=503, times=1))
        server = await here.serve()
        run_id = (await server.call("backoff"))["run_id"]
        await here.settled(lambda: here.read("SELECT 1 FROM step WHERE path = 'busy' AND status = 'waiting'") != [])
        await server.kill()
        (due_at,) = here.read("SELECT due_at FROM step WHERE path = 'busy'")[0]
        server = await here.serve()
        answer = await server.call("get_run", run_id=run_id, wait_seconds=30)
        assert answer["status"] == "completed"
        assert len(service.made("/before")) == 1
        assert [call.key for call in service.made("/busy")] == [f"{run_id}:busy"] * 2
        ((finished_at,),) = here.read("SELECT finished_at FROM step WHERE path = 'busy'")
        assert finished_at >= due_at
        assert here.read("SELECT path, number FROM attempt") == [("busy", 1)]


async def test_a_kill_in_the_middle_of_compensations_undoes_each_step_once(tmp_path: Path) -> None:
    async with counting_service() as service, place(tmp_path, SERVICE=service.url) as here:
        here.define("undone", UNDONE)
        service.rule("/refused", Rule(status=422))
        service.rule("/undo-b", Rule(hold=True))
        server = await here.serve()
        run_id = (await server.call("undone"))["run_id"]
        await service.seen(lambda: service.made("/undo-b") != [])
        await server.kill()
        await service.lift("/undo-b")
        server = await here.serve()
        answer = await server.call("get_run", run_id=run_id, wait_seconds=30)
        assert (answer["status"], answer["compensation"], answer["undone"]) == ("failed", "done", ["c", "b", "a"])
        undone = [call for call in service.calls if call.path.startswith("/undo")]
        assert [call.path for call in undone] == ["/undo-c", "/undo-b", "/undo-b", "/undo-a"]
        assert undone[1].key == undone[2].key == f"{run_id}:b:compensate"


async def test_an_at_most_once_step_cut_off_by_a_kill_is_not_made_again_unasked(tmp_path: Path) -> None:
    async with counting_service() as service, place(tmp_path, SERVICE=service.url) as here:
        here.define("once", ONCE)
        service.rule("/pay", Rule(hold=True))
        server = await here.serve()
        run_id = (await server.call("once"))["run_id"]
        await service.seen(lambda: service.made("/pay") != [])
        await server.kill()
        await service.lift("/pay")
        server = await here.serve()
        answer = await server.call("get_run", run_id=run_id, wait_seconds=30)
        assert answer["status"] == "paused"
        assert (answer["error"]["code"], answer["error"]["in_doubt"]) == ("interrupted", True)
        assert len(service.made("/pay")) == 1
        answer = await server.call("resume_run", run_id=run_id, output={"paid": True}, reason="the bank shows it")
        if answer["status"] != "completed":
            answer = await server.call("get_run", run_id=run_id, wait_seconds=30)
        assert answer["status"] == "completed"
        assert len(service.made("/pay")) == 1
        assert len(service.made("/mail")) == 1


async def test_of_two_servers_on_one_file_the_survivor_takes_over_within_seconds(tmp_path: Path) -> None:
    async with counting_service(delay=0.05) as service, place(tmp_path, SERVICE=service.url) as here:
        here.define("six_steps", SIX_STEPS)
        service.rule("/s3", Rule(hold=True))
        first, second = await here.serve(), await here.serve()
        run_ids = await start_runs(first, "six_steps", 30) + await start_runs(second, "six_steps", 30)
        await service.seen(lambda: len(service.made("/s3")) >= 60)
        await first.kill()
        recorded, calls = here.recorded(), len(service.calls)
        await service.seen(lambda: len(service.made("/s3")) >= 90, seconds=10)
        await service.lift("/s3")
        await here.settled(lambda: here.statuses() == {"completed": 60})
        assert called_again(service, calls, recorded) == set()
        assert set(service.keys()) == {f"{run_id}:s{n}" for run_id in run_ids for n in range(6)}
        again = {key for key, times in service.keys().items() if times > 1}
        assert again == {f"{run_id}:s3" for run_id in run_ids[:30]}


async def test_a_server_that_is_told_to_stop_is_gone_within_two_seconds_and_another_goes_on(tmp_path: Path) -> None:
    async with counting_service() as service, place(tmp_path, SERVICE=service.url) as here:
        here.define("six_steps", SIX_STEPS)
        service.rule("/s2", Rule(hold=True))
        server = await here.serve()
        run_ids = await start_runs(server, "six_steps", 5)
        await service.seen(lambda: len(service.made("/s2")) == 5)
        async with asyncio.timeout(2.0):
            assert await server.terminate() == 0
        await service.lift("/s2")
        await here.serve()
        await here.settled(lambda: here.statuses() == {"completed": 5})
        assert set(service.keys()) == {f"{run_id}:s{n}" for run_id in run_ids for n in range(6)}
        assert here.read("SELECT max(recoveries) FROM run") == [(0,)]


POISON = """
name: poison
description: A call that takes the server down with it whenever it is made.
vars: {SERVICE: "http://127.0.0.1:1"}
mcp: {wait: 0s}
steps:
  - id: boom
    http: {method: POST, url: "${vars.SERVICE}/boom"}
"""


async def test_a_run_that_takes_one_server_down_after_the_other_is_set_aside(tmp_path: Path) -> None:
    async with counting_service() as service, place(tmp_path, SERVICE=service.url) as here:
        here.define("poison", POISON)
        service.rule("/boom", Rule(hold=True))
        server = await here.serve()
        run_id = (await server.call("poison"))["run_id"]
        for deaths in range(1, 5):
            await service.seen(lambda deaths=deaths: len(service.calls) == deaths)
            await server.kill()
            server = await here.serve()
        await here.settled(lambda: here.statuses() == {"paused": 1})
        answer = await server.call("get_run", run_id=run_id)
        assert answer["error"]["code"] == "recoveries"
        assert len(service.calls) == 4
        await service.lift("/boom")
        answer = await server.call("resume_run", run_id=run_id)
        if answer["status"] != "completed":
            answer = await server.call("get_run", run_id=run_id, wait_seconds=30)
        assert answer["status"] == "completed"
