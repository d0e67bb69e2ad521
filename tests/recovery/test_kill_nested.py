"""What ``kill -9`` may not do inside of blocks, to people's answers, to work that goes on elsewhere, and to children."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.recovery.server import Place, ServerProcess, place
from tests.services.counting import CountingService, Rule, counting_service

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

HEAD = """
name: {name}
description: A workflow whose server is killed in the middle of it.
input: {{properties: {{items: {{type: array, items: {{type: integer}}, default: [0, 1, 2, 3, 4, 5]}}}}}}
vars: {{SERVICE: "http://127.0.0.1:1"}}
mcp: {{wait: 0s, join: "off"}}
defaults: {{retry: {{max_attempts: 10, delay: 50ms}}}}
on_failure: {on_failure}
steps:
"""


def workflow(name: str, steps: str, *, on_failure: str = "fail") -> str:
    """``POST(/x)`` stands for a request to the service."""
    requests = re.sub(r"POST\(([^)]*)\)", r'method: POST, url: "${vars.SERVICE}\1"', steps)
    return HEAD.format(name=name, on_failure=on_failure) + requests


async def start(server: ServerProcess, name: str, **arguments: Any) -> str:
    return (await server.call(name, **arguments))["run_id"]


async def ended(server: ServerProcess, run_id: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            view = await server.call("get_run", run_id=run_id, wait_seconds=5)
            if view["status"] in ("completed", "failed", "cancelled", "paused"):
                return view


def rows(here: Place, run_id: str) -> dict[str, str]:
    """Status by path."""
    return dict(here.read("SELECT path, step.status FROM step JOIN run ON run.key = step.run WHERE run_id = ?", run_id))


async def in_flight(service: CountingService, *paths: str) -> None:
    await service.seen(lambda: all(any(not call.answered for call in service.made(path)) for path in paths))


async def test_branches_in_flight_are_made_again_with_their_keys_and_done_ones_are_not(tmp_path: Path) -> None:
    steps = """
  - id: both
    parallel:
      left:
        - {id: one, http: {POST(/one)}}
        - {id: two, http: {POST(/two)}}
      right:
        - {id: three, http: {POST(/three)}}
output: ${steps.both.output.right.id}
"""
    async with counting_service() as service, place(tmp_path, SERVICE=service.url) as here:
        here.define("branches", workflow("branches", steps))
        for path in ("/two", "/three"):
            service.rule(path, Rule(hold=True))
        server = await here.serve()
        run_id = await start(server, "branches")
        await in_flight(service, "/two", "/three")
        await server.kill()
        server = await here.serve()
        await service.seen(lambda: len(service.made("/two")) == 2 and len(service.made("/three")) == 2)
        for path in ("/two", "/three"):
            await service.lift(path)
        view = await ended(server, run_id)
        assert (view["status"], view["result"]) == ("completed", f"three-{run_id}:both.right.three")
        assert service.keys() == {
            f"{run_id}:both.left.one": 1,
            f"{run_id}:both.left.two": 2,
            f"{run_id}:both.right.three": 2,
        }


ITEMS = """
  - id: each
    for_each:
      items: ${input.items}
      as: n
      concurrency: 3
      on_item_error: collect
      steps:
        - {id: prepare, http: {POST(/prepare)}}
        - {id: send, http: {POST(/send/${n})}}
output: {sent: "${steps.each.output}", errors: "${steps.each.errors}"}
"""


async def test_items_in_flight_go_on_and_failures_that_were_collected_stay(tmp_path: Path) -> None:
    async with counting_service() as service, place(tmp_path, SERVICE=service.url) as here:
        here.define("items", workflow("items", ITEMS))
        service.rule("/send/1", Rule(status=422))
        service.rule("/send/3", Rule(hold=True))
        service.rule("/send/4", Rule(hold=True))
        server = await here.serve()
        run_id = await start(server, "items")
        await in_flight(service, "/send/3", "/send/4")
        await here.settled(lambda: rows(here, run_id).get("each[5]") == "completed")
        await server.kill()
        recorded, calls = here.recorded(), len(service.calls)
        server = await here.serve()
        await service.seen(lambda: len(service.made("/send/3")) == 2)
        for path in ("/send/3", "/send/4"):
            await service.lift(path)
        view = await ended(server, run_id)
        assert view["status"] == "completed"
        assert [part and part["id"] for part in view["result"]["sent"]] == [
            None if n == 1 else f"send/{n}-{run_id}:each[{n}].send" for n in range(6)
        ]
        assert [(error["item"], error["code"]) for error in view["result"]["errors"]] == [(1, "http_422")]
        assert {call.key for call in service.calls[calls:]} & recorded == set()


async def test_an_approval_that_was_answered_while_no_server_was_up_is_taken_in(tmp_path: Path) -> None:
    steps = """
  - {id: before, http: {POST(/before)}}
  - {id: agree, approval: {message: "Go on?", timeout: 3d}}
  - {id: after, http: {POST(/after)}}
output: ${steps.agree.output}
"""
    async with counting_service() as service, place(tmp_path, SERVICE=service.url) as here:
        here.define("asks", workflow("asks", steps))
        server = await here.serve()
        run_id = await start(server, "asks")
        await here.settled(lambda: rows(here, run_id).get("agree") == "waiting")
        await server.kill()
        await command(here, "signal", run_id, "agree", "--approve", "--note", "fine", "--as", "cli:anna")
        server = await here.serve()
        view = await ended(server, run_id)
        assert view["status"] == "completed"
        answer = view["result"]
        assert (answer["decision"], answer["by"], answer["note"], answer["via"]) == (
            "approved",
            "cli:anna",
            "fine",
            "cli",
        )
        assert service.keys() == {f"{run_id}:before": 1, f"{run_id}:after": 1}


async def test_timers_that_fell_due_while_no_server_was_up_fire_in_order(tmp_path: Path) -> None:
    steps = """
  - id: timers
    parallel:
      late: [{wait: 1500ms}, {id: second, http: {POST(/second)}}]
      early: [{wait: 1s}, {id: first, http: {POST(/first)}}]
"""
    async with counting_service() as service, place(tmp_path, SERVICE=service.url) as here:
        here.define("timers", workflow("timers", steps))
        server = await here.serve()
        run_id = await start(server, "timers")
        await here.settled(lambda: list(rows(here, run_id).values()).count("waiting") == 2)
        await server.kill()
        overdue = time.monotonic() + 1.6
        await here.settled(lambda: time.monotonic() > overdue)
        server = await here.serve()
        assert (await ended(server, run_id))["status"] == "completed"
        fired = here.read("SELECT path FROM step WHERE kind = 'wait' ORDER BY seq")
        assert [path for (path,) in fired] == ["timers.early.wait#1", "timers.late.wait#1"]


async def test_a_service_that_is_asked_again_gets_its_first_request_once(tmp_path: Path) -> None:
    steps = """
  - id: job
    http:
      method: POST
      url: ${vars.SERVICE}/job
      poll:
        url: ${vars.SERVICE}/status
        every: 50ms
        until: '${result.body.id.startsWith("status")}'
"""
    async with counting_service() as service, place(tmp_path, SERVICE=service.url) as here:
        here.define("polls", workflow("polls", steps))
        service.rule("/status", Rule(hold=True))
        server = await here.serve()
        run_id = await start(server, "polls")
        await in_flight(service, "/status")
        await server.kill()
        server = await here.serve()
        await service.seen(lambda: len(service.made("/status")) == 2)
        await service.lift("/status")
        assert (await ended(server, run_id))["status"] == "completed"
        assert len(service.made("/job")) == 1


CALLED = """
  - id: work
    http:
      method: POST
      url: ${vars.SERVICE}/work
      json: {tell: "${callback_url}"}
      callback: {timeout: 1h}
output: ${steps.work.output.told}
"""


async def call_back(url: str, server: ServerProcess, body: Any) -> int:
    """Call the address that a killed server gave out, at the server that is up now."""
    here = f"http://127.0.0.1:{server.port}{urlsplit(url).path}"
    async with aiohttp.ClientSession() as session, session.post(here, json=body) as response:
        return response.status


async def test_a_call_back_finds_the_run_after_a_kill_and_counts_once(tmp_path: Path) -> None:
    async with counting_service() as service, place(tmp_path, SERVICE=service.url) as here:
        here.define("called", workflow("called", CALLED))
        server = await here.serve()
        run_id = await start(server, "called")
        await here.settled(lambda: rows(here, run_id).get("work") == "waiting")
        await server.kill()
        url = service.made("/work")[0].body["tell"]
        server = await here.serve()
        assert await call_back(url, server, {"told": 1}) == 202
        view = await ended(server, run_id)
        assert (view["status"], view["result"]) == ("completed", 1)
        assert await call_back(url, server, {"told": 2}) in (200, 410)
        assert await call_back(url + "x", server, {"told": 3}) == 404
        assert len(service.made("/work")) == 1


async def test_a_call_back_that_comes_before_the_answer_is_kept_through_a_kill(tmp_path: Path) -> None:
    async with counting_service() as service, place(tmp_path, SERVICE=service.url) as here:
        here.define("called", workflow("called", CALLED))
        service.rule("/work", Rule(hold=True))
        server = await here.serve()
        run_id = await start(server, "called")
        await in_flight(service, "/work")
        assert await call_back(service.made("/work")[0].body["tell"], server, {"told": "early"}) == 202
        await server.kill()
        server = await here.serve()
        await service.lift("/work")
        view = await ended(server, run_id)
        assert (view["status"], view["result"]) == ("completed", "early")


PARENT = """
  - id: child
    workflow: {name: child, input: {}}
  - id: after
    http: {POST(/after)}
output: ${steps.child.output}
"""
CHILD = """
  - id: deed
    http: {POST(/deed)}
    compensate: {http: {POST(/undo-deed)}}
  - {id: more, http: {POST(/more)}}
output: ${steps.deed.output.id}
"""


async def test_a_child_goes_on_at_another_server_and_its_parent_with_it(tmp_path: Path) -> None:
    async with counting_service() as service, place(tmp_path, SERVICE=service.url) as here:
        here.define("child", workflow("child", CHILD))
        here.define("parent", workflow("parent", PARENT))
        service.rule("/more", Rule(hold=True))
        servers = [await here.serve(), await here.serve()]
        run_id = await start(servers[0], "parent")
        await in_flight(service, "/more")
        for server in servers:
            await server.kill()
        server = await here.serve()
        await service.lift("/more")
        view = await ended(server, run_id)
        assert view["status"] == "completed"
        assert view["result"].startswith("deed-r_")
        assert len(service.made("/deed")) == 1
        assert here.statuses() == {"completed": 2}


async def test_a_completed_child_is_undone_with_its_parent_through_a_kill(tmp_path: Path) -> None:
    async with counting_service() as service, place(tmp_path, SERVICE=service.url) as here:
        here.define("child", workflow("child", CHILD))
        here.define("parent", workflow("parent", PARENT, on_failure="compensate"))
        service.rule("/after", Rule(status=422))
        service.rule("/undo-deed", Rule(hold=True))
        server = await here.serve()
        run_id = await start(server, "parent")
        await in_flight(service, "/undo-deed")
        await server.kill()
        server = await here.serve()
        await service.lift("/undo-deed")
        view = await ended(server, run_id)
        assert (view["status"], view["compensation"], view["undone"]) == ("failed", "done", ["child"])
        assert here.statuses() == {"failed": 1, "compensated": 1}


async def test_items_are_undone_once_each_though_the_server_dies_while_the_run_is_cancelled(tmp_path: Path) -> None:
    steps = """
  - id: each
    for_each:
      items: ${input.items}
      steps:
        - id: book
          http: {POST(/book)}
          compensate: {http: {POST(/unbook/${item})}}
  - {id: last, http: {POST(/last)}}
"""
    async with counting_service() as service, place(tmp_path, SERVICE=service.url) as here:
        here.define("bookings", workflow("bookings", steps, on_failure="compensate"))
        service.rule("/last", Rule(hold=True))
        service.rule("/unbook/3", Rule(hold=True))
        server = await here.serve()
        run_id = await start(server, "bookings")
        await in_flight(service, "/last")
        await command(here, "cancel", run_id)
        await here.settled(lambda: here.read("SELECT 1 FROM run WHERE stopping IS NOT NULL") != [])
        await service.lift("/last")
        await in_flight(service, "/unbook/3")
        await server.kill()
        server = await here.serve()
        await service.lift("/unbook/3")
        view = await ended(server, run_id)
        assert (view["status"], view["compensation"]) == ("cancelled", "done")
        undone = [f"each[{n}].book" for n in range(5, -1, -1)]
        assert view["undone"][-6:] == undone
        keys = service.keys()
        assert [keys[f"{run_id}:{path}:compensate"] for path in undone] == [1, 1, 2, 1, 1, 1]


async def test_a_return_stands_and_what_was_in_flight_beside_it_is_in_doubt(tmp_path: Path) -> None:
    steps = """
  - id: race
    parallel:
      slow: [{id: slow_one, http: {POST(/slow)}}]
      quick: [{id: quick_one, http: {POST(/quick)}}, {return: "${steps.quick_one.output.id}"}]
  - {id: never, http: {POST(/never)}}
"""
    async with counting_service() as service, place(tmp_path, SERVICE=service.url) as here:
        here.define("race", workflow("race", steps))
        service.rule("/slow", Rule(hold=True))
        server = await here.serve()
        run_id = await start(server, "race")
        await here.settled(lambda: here.read("SELECT 1 FROM step WHERE decision LIKE '%\"return\"%'") != [])
        await server.kill()
        server = await here.serve()
        view = await ended(server, run_id)
        assert (view["status"], view["result"]) == ("completed", f"quick-{run_id}:race.quick.quick_one")
        assert rows(here, run_id)["race.slow.slow_one"] == "in_doubt"
        assert len(service.made("/slow")) == 1
        assert service.made("/never") == []


async def test_what_a_loop_has_collected_is_kept_and_its_iteration_goes_on(tmp_path: Path) -> None:
    steps = """
  - id: pages
    repeat:
      state: {n: 0}
      steps:
        - id: page
          http: {POST(/page/${state.n})}
      next: {n: "${state.n + 1}"}
      collect: ${steps.page.output.id}
      until: ${state.n == 4}
      max_iterations: 10
"""
    async with counting_service() as service, place(tmp_path, SERVICE=service.url) as here:
        here.define("pages", workflow("pages", steps))
        service.rule("/page/2", Rule(hold=True))
        server = await here.serve()
        run_id = await start(server, "pages")
        await in_flight(service, "/page/2")
        await server.kill()
        server = await here.serve()
        await service.seen(lambda: len(service.made("/page/2")) == 2)
        await service.lift("/page/2")
        view = await ended(server, run_id)
        assert view["result"] == [f"page/{n}-{run_id}:pages[{n}].page" for n in range(4)]
        assert [len(service.made(f"/page/{n}")) for n in range(5)] == [1, 1, 2, 1, 0]


async def test_a_cancel_that_comes_while_a_run_is_undone_changes_nothing_also_not_through_a_kill(
    tmp_path: Path,
) -> None:
    steps = """
  - id: first
    http: {POST(/first)}
    compensate: {http: {POST(/undo-first)}}
  - id: second
    http: {POST(/second)}
    compensate: {http: {POST(/undo-second)}}
  - {id: refused, http: {POST(/refused)}}
"""
    async with counting_service() as service, place(tmp_path, SERVICE=service.url) as here:
        here.define("undone", workflow("undone", steps, on_failure="compensate"))
        service.rule("/refused", Rule(status=422))
        service.rule("/undo-second", Rule(hold=True))
        server = await here.serve()
        run_id = await start(server, "undone")
        await in_flight(service, "/undo-second")
        await command(here, "cancel", run_id)
        await server.kill()
        server = await here.serve()
        await service.lift("/undo-second")
        view = await ended(server, run_id)
        assert (view["status"], view["compensation"], view["undone"]) == ("failed", "done", ["second", "first"])
        assert [len(service.made(path)) for path in ("/undo-second", "/undo-first")] == [2, 1]


async def command(here: Place, *arguments: str) -> None:
    """The command line beside any server; it leaves a message."""
    environment = {**os.environ, "MCP_WORKFLOWS_DATABASE_URL": f"sqlite:///{here.database}"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mcp_workflows", *arguments, env=environment,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode in (0, 4), output.decode()
