"""A server that nobody can call leaves runs to one over HTTP on the same database, and moves whatever that one does not."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mcp_workflows.app import App, Role, built_app
from mcp_workflows.clock import utc_now
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.errors import Busy, RunRefused
from mcp_workflows.mcp_server.views.next_step import next_step
from mcp_workflows.runtime.standby import PATIENCE
from mcp_workflows.settings import Settings
from tests.runtime.doer import Doer
from tests.store.raw import ask

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]

CALL = """
name: call
description: Two calls, one after the other.
on_failure: pause
steps:
  - id: one
    http: {method: POST, url: "http://127.0.0.1:1/one"}
  - id: two
    http: {method: POST, url: "http://127.0.0.1:1/two"}
"""
SUM = """
name: sum
description: Computes, and calls nobody.
input: {required: [n], properties: {n: {type: integer}}}
steps:
  - set: {twice: "${input.n * 2}"}
output: ${vars.FACTOR * input.n}
vars: {FACTOR: 2}
"""
SECRET = """
name: keyed
description: Calls with a secret.
secrets: [TOKEN]
steps:
  - http: {method: POST, url: "http://127.0.0.1:1/keyed", headers: {X-Token: "${secrets.TOKEN}"}}
"""
ASK = """
name: ask
description: One question, asked for ever, and a call.
secrets: [TOKEN]
steps:
  - id: decide
    approval: {message: "Go on?", by: anyone}
  - http: {method: POST, url: "http://127.0.0.1:1/decided", headers: {X-Token: "${secrets.TOKEN}"}}
"""
ORDER = """
name: order
description: Waits to be called.
steps:
  - id: ordered
    http: {method: POST, url: "http://127.0.0.1:1/orders", json: {notify: "${callback_url}"}, callback: true}
"""
BOOK = """
name: book
description: Books, and waits to be called.
steps:
  - id: booked
    set: {number: 1}
    compensate:
      http: {method: DELETE, url: "http://127.0.0.1:1/orders"}
  - id: ordered
    http: {method: POST, url: "http://127.0.0.1:1/orders", json: {notify: "${callback_url}"}, callback: true}
"""
TOLD = BOOK.replace("name: book", "name: told").replace(
    'url: "http://127.0.0.1:1/orders"}',
    'url: "http://127.0.0.1:1/orders", json: {notify: "${callback_url}"}, callback: true}',
)
ALL = {"book": BOOK, "told": TOLD, "call": CALL, "sum": SUM, "keyed": SECRET, "ask": ASK, "order": ORDER}
ADDRESS = "http://127.0.0.1:9"


@asynccontextmanager
async def server(
    folder: Path,
    served_at: str | None,
    *,
    workflows: Collection[str] = tuple(ALL),
    moving: bool = True,
    **settings: Any,
) -> AsyncGenerator[tuple[App, Doer]]:
    """``served_at``: it is one over HTTP. What it is asked to do ends when its doer is told."""
    files = folder / f"{'http' if served_at else 'stdio'}-{len(workflows)}"
    files.mkdir(exist_ok=True)
    for name in workflows:
        (files / f"{name}.yaml").write_text(ALL[name])
    loaded = Settings.load(definitions=(files,), **settings)
    async with built_app(loaded, role=Role.SERVER, served_at=served_at) as app:
        doer = Doer()
        app.node._doer = doer
        if not moving:
            yield app, doer
            return
        async with app.moving():
            yield app, doer


async def beside(stdio: App, address: str | None = ADDRESS) -> None:
    """Once ``stdio`` knows who is beside it."""
    async with asyncio.timeout(20):
        while stdio.runs.served_beside != address:  # noqa: ASYNC110  (it looks at the database)
            await asyncio.sleep(0.01)


async def unable(stdio: App, workflow: str) -> None:
    """Once ``stdio`` knows that nobody beside it can move that."""
    async with asyncio.timeout(20):
        while stdio.node.leaves(workflow, 1):  # noqa: ASYNC110  (it looks at the database)
            await asyncio.sleep(0.01)


async def ended(app: App, run_id: str) -> RunStatus:
    return (await app.runs.wait(run_id, actor="me", seconds=30)).status


async def test_a_start_is_begun_at_once_by_the_server_over_http_and_followed_from_here(tmp_path: Path) -> None:
    async with server(tmp_path, ADDRESS) as (http, doer), server(tmp_path, None) as (stdio, unused):
        await beside(stdio)
        began = time.monotonic()
        view = await stdio.runs.start("call", {}, actor="me")
        assert time.monotonic() - began < PATIENCE
        assert (view.status, view.owner) == (RunStatus.RUNNING, http.store.node_id)
        doer.answer.set()
        assert await ended(stdio, view.run_id) is RunStatus.COMPLETED
        assert not unused.asked.is_set()
        again = await stdio.runs.start("call", {}, actor="me", idempotency_key="k")
        joined = await stdio.runs.start("call", {}, actor="me", idempotency_key="k")
        assert (joined.run_id, joined.joined) == (again.run_id, True)


async def test_a_run_that_only_computes_ends_with_its_start_whoever_is_up(tmp_path: Path) -> None:
    async with (
        server(tmp_path, ADDRESS, moving=False) as (http, _),
        server(tmp_path, None, vars={"FACTOR": "3"}) as (
            stdio,
            _,
        ),
    ):
        await http.node._abilities.tell(http.store, http.catalog)
        await beside(stdio)
        view = await stdio.runs.start("sum", {"n": 7}, actor="me")
        assert (view.status, view.result, view.owner) == (RunStatus.COMPLETED, 21, None)
        assert (await stdio.runs.get(view.run_id, actor="me")).result == 21


async def test_where_no_more_are_queued_what_ends_with_its_start_is_taken_and_nothing_else(tmp_path: Path) -> None:
    async with server(tmp_path, ADDRESS, moving=False) as (http, _):
        await http.node._abilities.tell(http.store, http.catalog)
        async with server(tmp_path, None, moving=False, max_queued_runs=1) as (stdio, _):
            await stdio.node._look_beside()
            await stdio.runs.start("call", {}, actor="me", idempotency_key="k1")
            with pytest.raises(Busy):
                await stdio.runs.start("call", {}, actor="me", idempotency_key="k2")
            assert (await stdio.runs.start("sum", {"n": 7}, actor="me")).status is RunStatus.COMPLETED


async def test_when_the_server_over_http_comes_runs_go_over_and_what_is_in_flight_is_made_once(tmp_path: Path) -> None:
    async with server(tmp_path, None) as (stdio, first):
        view = await stdio.runs.start("call", {}, actor="me")
        assert (view.status, view.owner) == (RunStatus.RUNNING, stdio.store.node_id)
        await first.asked.wait()
        async with server(tmp_path, ADDRESS) as (_, second):
            await beside(stdio)
            first.asked.clear()
            first.answer.set()
            await second.asked.wait()
            second.answer.set()
            assert await ended(stdio, view.run_id) is RunStatus.COMPLETED
        assert not first.asked.is_set()
        steps = await stdio.store.load_steps(view.run_id)
        assert [(step.path, step.attempts) for step in steps] == [("one", 1), ("two", 1)]


async def test_when_the_server_over_http_leaves_runs_are_moved_here_again(tmp_path: Path) -> None:
    async with server(tmp_path, None) as (stdio, mine):
        async with server(tmp_path, ADDRESS) as (_, doer):
            await beside(stdio)
            view = await stdio.runs.start("call", {}, actor="me")
            await doer.asked.wait()
        mine.answer.set()
        assert await ended(stdio, view.run_id) is RunStatus.COMPLETED
        await beside(stdio, None)
        started = await stdio.runs.start("call", {}, actor="me", idempotency_key="k")
        assert stdio.node.mover_of(started.run_id) is not None


async def test_what_a_server_over_http_leaves_lying_is_moved_here_after_a_moment(tmp_path: Path) -> None:
    """It may be frozen, or dead and not yet known to be: it has said that it is there, and does nothing."""
    async with server(tmp_path, ADDRESS, moving=False) as (http, _), server(tmp_path, None) as (stdio, doer):
        await http.node._abilities.tell(http.store, http.catalog)
        await beside(stdio)
        doer.answer.set()
        began = time.monotonic()
        views = await asyncio.gather(
            *(stdio.runs.start("call", {}, actor="me", idempotency_key=f"k{n}") for n in range(30))
        )
        assert time.monotonic() - began >= PATIENCE
        assert {await ended(stdio, view.run_id) for view in views} == {RunStatus.COMPLETED}


async def test_what_cannot_be_claimed_here_either_is_not_looked_at_without_end(tmp_path: Path, url: str) -> None:
    """Suspects: a node moves one of them at a time."""
    async with server(tmp_path, ADDRESS, moving=False) as (http, _):
        await http.node._abilities.tell(http.store, http.catalog)
        async with server(tmp_path, None, moving=False) as (stdio, _):
            await stdio.node._look_beside()
            starts = [
                asyncio.create_task(stdio.runs.start("call", {}, actor="me", idempotency_key=f"k{n}")) for n in range(3)
            ]
            await asyncio.gather(*starts)
        ask(url, "UPDATE run SET recoveries = 2")
        async with server(tmp_path, None) as (stdio, doer):
            await doer.asked.wait()
            tends, tend = 0, stdio.node._tend

            async def counted() -> float:
                nonlocal tends
                tends += 1
                return await tend()

            stdio.node._tend = counted
            await asyncio.sleep(1.5)  # long enough for what lies there to have lain there for long
            assert tends < 30
            doer.answer.set()
            for start in starts:
                assert await ended(stdio, start.result().run_id) is RunStatus.COMPLETED


async def test_what_a_full_server_over_http_cannot_take_is_moved_here(tmp_path: Path) -> None:
    async with server(tmp_path, ADDRESS, max_runs=1) as (http, theirs), server(tmp_path, None) as (stdio, mine):
        await beside(stdio)
        one = await stdio.runs.start("call", {}, actor="me", idempotency_key="k1")
        two = await stdio.runs.start("call", {}, actor="me", idempotency_key="k2")
        await mine.asked.wait()
        await theirs.asked.wait()
        assert one.owner == http.store.node_id
        theirs.answer.set()
        mine.answer.set()
        assert {await ended(stdio, view.run_id) for view in (one, two)} == {RunStatus.COMPLETED}


async def test_a_server_without_the_secret_speaks_for_the_one_over_http_that_has_it(tmp_path: Path) -> None:
    async with server(tmp_path, ADDRESS, secrets={"TOKEN": "t"}) as (http, doer), server(tmp_path, None) as (stdio, _):
        await beside(stdio)
        view = await stdio.runs.start("keyed", {}, actor="me")
        assert view.owner == http.store.node_id
        doer.answer.set()
        assert await ended(stdio, view.run_id) is RunStatus.COMPLETED
    async with server(tmp_path, None) as (stdio, _):
        with pytest.raises(RunRefused, match="MCP_WORKFLOWS_SECRET_TOKEN"):
            await stdio.runs.start("keyed", {}, actor="me")


async def test_a_run_whose_secret_only_this_server_has_is_moved_here_at_once(tmp_path: Path) -> None:
    async with (
        server(tmp_path, ADDRESS) as (_, _),
        server(tmp_path, None, secrets={"TOKEN": "t"}) as (stdio, doer),
    ):
        await beside(stdio)
        await unable(stdio, "ask")
        assert stdio.node.leaves("call", 1)
        view = await stdio.runs.start("ask", {}, actor="me")
        view = await stdio.runs.wait(view.run_id, actor="me", seconds=30, known=())
        assert view.stranded is None
        async with asyncio.timeout(30):
            while stdio.node.mover_of(view.run_id) is not None:  # noqa: ASYNC110  (until it is let go)
                await asyncio.sleep(0.01)
        began = time.monotonic()
        await stdio.runs.signal(view.run_id, "decide", {"decision": "approved"}, actor="me", via="t", person=True)
        await doer.asked.wait()
        assert time.monotonic() - began < PATIENCE
        doer.answer.set()
        assert await ended(stdio, view.run_id) is RunStatus.COMPLETED


async def test_a_server_over_http_with_other_files_moves_what_it_can_and_leaves_the_rest(tmp_path: Path) -> None:
    async with (
        server(tmp_path, ADDRESS, workflows=["sum"]) as (http, theirs),
        server(tmp_path, None, secrets={"TOKEN": "t"}) as (stdio, mine),
    ):
        await beside(stdio)
        view = await stdio.runs.start("call", {}, actor="me")
        assert view.owner == http.store.node_id
        theirs.answer.set()
        assert await ended(stdio, view.run_id) is RunStatus.COMPLETED
        mine.answer.set()
        view = await stdio.runs.start("keyed", {}, actor="me")  # it does not know yet that it cannot
        assert await ended(stdio, view.run_id) is RunStatus.COMPLETED
        assert mine.asked.is_set()
        await unable(stdio, "keyed")
        view = await stdio.runs.start("keyed", {}, actor="me", idempotency_key="again")
        assert await ended(stdio, view.run_id) is RunStatus.COMPLETED


async def test_what_waits_for_a_call_waits_for_a_server_that_can_be_called(tmp_path: Path) -> None:
    async with server(tmp_path, None) as (stdio, mine):
        view = await stdio.runs.start("order", {}, actor="me")
        assert (view.status, view.owner) == (RunStatus.PENDING, None)
        lacks = (
            "its step ordered waits for a call, and nobody can call this server: serve the same database with --http too, "
            "or set MCP_WORKFLOWS_PUBLIC_URL"
        )
        assert view.stranded == lacks
        assert (next_step(view, utc_now()) or "").startswith(f"No server that is up can go on with it: {lacks}.")
        async with server(tmp_path, ADDRESS) as (_, doer):
            await doer.asked.wait()
            view = await stdio.runs.get(view.run_id, actor="me")
            assert (view.status, view.stranded) == (RunStatus.RUNNING, None)
            doer.answer.set()
            assert await ended(stdio, view.run_id) is RunStatus.COMPLETED
        assert not mine.asked.is_set()


async def test_what_waits_for_a_call_is_cancelled_where_nobody_can_call_unless_its_undoing_waits_for_one_too(
    tmp_path: Path,
) -> None:
    async with server(tmp_path, None) as (stdio, mine):
        pending = await stdio.runs.start("told", {}, actor="me")
        cancelled = await stdio.runs.cancel(pending.run_id, actor="me", via="mcp")
        assert (cancelled.status, cancelled.compensation) == (RunStatus.CANCELLED, "none"), "nothing was begun"
        async with server(tmp_path, ADDRESS) as (http, doer):
            book, told = [await http.runs.start(name, {}, actor="me") for name in ("book", "told")]
            await doer.asked.wait()
        assert not mine.asked.is_set()
        mine.answer.set()
        await stdio.runs.cancel(book.run_id, actor="me", via="mcp")
        view = await stdio.runs.wait(book.run_id, actor="me", seconds=30)
        assert (view.status.finished, view.undone) == (True, ("booked",))
        assert [one.path for one in view.not_undone] == ["ordered"], "it was in flight when its server went"
        stuck = await stdio.runs.cancel(told.run_id, actor="me", via="mcp")
        assert not stuck.status.finished
        assert stuck.stranded is not None
        async with server(tmp_path, ADDRESS) as (_, doer):
            doer.answer.set()
            assert (await stdio.runs.wait(told.run_id, actor="me", seconds=30)).undone == ("booked",)


async def test_several_servers_that_nobody_can_call_leave_runs_to_one_and_share_them_without_it(tmp_path: Path) -> None:
    async with server(tmp_path, None) as (one, first), server(tmp_path, None) as (two, second):
        async with server(tmp_path, ADDRESS) as (http, doer):
            await beside(one)
            await beside(two)
            views = [
                await each.runs.start("call", {}, actor="me", idempotency_key=f"k{number}")
                for number, each in enumerate((one, two) * 3)
            ]
            assert {view.owner for view in views} == {http.store.node_id}
            await doer.asked.wait()
        for mine in (first, second):
            mine.answer.set()
        for view in views:
            assert await ended(one, view.run_id) is RunStatus.COMPLETED
            assert await ended(two, view.run_id) is RunStatus.COMPLETED
            steps = await one.store.load_steps(view.run_id)
            assert [step.path for step in steps] == ["one", "two"]
