"""A node that others take for dead while it runs drops all that it holds and starts as a new one."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path

import pytest

from mcp_workflows.app import Role, built_app
from mcp_workflows.clock import utc_now
from mcp_workflows.engine.outcome import Completed, Outcome, StepCall
from mcp_workflows.engine.records import Message, StepRecord
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.errors import StoreUnavailable
from mcp_workflows.runtime import node as node_module
from mcp_workflows.settings import Settings
from mcp_workflows.store import Store, nodes
from tests.store.material import kill

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

TWO_CALLS = """
name: two_calls
description: Two calls one after the other.
steps:
  - id: a
    http: {method: POST, url: "http://127.0.0.1:1/a"}
  - id: b
    http: {method: POST, url: "http://127.0.0.1:1/b"}
"""


WAITS = """
name: waits
description: Waits for a word.
steps:
  - id: both
    parallel:
      one: [{signal: {name: word}}]
      other: [{signal: {name: other}}]
"""


class Doer:
    """Answers at once, but for a call that is held until it is cancelled."""

    def __init__(self, held: str | None = None) -> None:
        self.held = held
        self.calls: list[str] = []
        self.holds = asyncio.Event()
        self.dropped = asyncio.Event()

    async def attempt(self, call: StepCall) -> Outcome:
        self.calls.append(call.path)
        if call.path == self.held:
            self.holds.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.dropped.set()
        return Completed({"status": 200, "headers": {}, "body": call.path})


async def declare_dead(by: Store, node_id: str) -> None:
    """What an observer does whose lease has passed without a beat."""
    dead = [nodes.Dead(node_id, "silent", None)]
    statements = by._database.statements
    await by._call(lambda cursor, now: nodes.take_over(statements, dead, cursor, now), notable=bool)


async def test_a_node_declared_dead_while_it_runs_starts_anew_and_its_run_completes_once_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "two_calls.yaml").write_text(TWO_CALLS)
    settings = Settings.load(definitions=(tmp_path,))
    lost, heir = Doer(held="b"), Doer()
    async with built_app(settings, role=Role.SERVER) as one, built_app(settings, role=Role.SERVER) as two:
        one.node._doer, two.node._doer = lost, heir
        rejoined = asyncio.Event()
        monkeypatch.setattr(one.store, "rejoin", _fails_first(one.store.rejoin, rejoined))
        monkeypatch.setattr(one.store, "claim_runs", _claims_nothing)  # so that it is the other that goes on
        async with one.moving(), two.moving():
            before = one.store.node_id
            run_id = (await one.runs.start("two_calls", {}, actor="test")).run_id
            await lost.holds.wait()
            await declare_dead(two.store, before)
            await lost.dropped.wait()
            view = await one.runs.wait(run_id, actor="test", seconds=30)
            assert view.status is RunStatus.COMPLETED
            assert (lost.calls, heir.calls) == (["a", "b"], ["b"])
            await rejoined.wait()
            lost.held = None
            again = await one.runs.start("two_calls", {}, actor="another")
            assert (await one.runs.wait(again.run_id, actor="another", seconds=30)).status is RunStatus.COMPLETED
            assert one.store.node_id != before
            await one.store.beat()


async def test_a_node_that_stood_still_between_a_claim_and_its_reading_does_not_mix_what_two_owners_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "waits.yaml").write_text(WAITS)
    settings = Settings.load(definitions=(tmp_path,))
    async with (
        asyncio.timeout(40),
        built_app(settings, role=Role.SERVER) as one,
        built_app(settings, role=Role.SERVER) as two,
        one.moving(),
    ):
        run_id = (await one.runs.start("waits", {}, actor="test")).run_id
        await one.runs.wait(run_id, actor="test", seconds=30, known=())  # until it needs something
        load, load_messages, stood_still = one.store.load_lists, one.store.load_unconsumed, asyncio.Event()

        async def late(wanted: Mapping[str, Collection[str]]) -> dict[str, list[StepRecord]]:
            monkeypatch.setattr(one.store, "load_lists", load)
            await declare_dead(two.store, one.store.node_id)
            async with two.moving():
                cancelled = await two.runs.wait(run_id, actor="test", seconds=30)
            assert cancelled.status is RunStatus.CANCELLED
            stood_still.set()
            return await load(wanted)

        async def late_too(run_ids: Sequence[str]) -> list[Message]:
            await stood_still.wait()
            return await load_messages(run_ids)

        monkeypatch.setattr(one.store, "load_lists", late)
        monkeypatch.setattr(one.store, "load_unconsumed", late_too)
        rejoined = asyncio.Event()
        monkeypatch.setattr(one.store, "rejoin", _tells(one.store.rejoin, rejoined))
        await two.runs.cancel(run_id, actor="test", via="test")
        await stood_still.wait()
        await rejoined.wait()
        assert (await one.runs.get(run_id, actor="test")).status is RunStatus.CANCELLED
        assert not [record for record in caplog.records if "cannot be moved" in record.message]


async def test_whose_runs_go_on_here_is_told_by_the_name_that_nodes_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "waits.yaml").write_text(WAITS)
    settings = Settings.load(definitions=(tmp_path,), lease_seconds=2)
    told: asyncio.Queue[str] = asyncio.Queue()

    def note(_level: int, said: str, *values: object) -> None:
        told.put_nowait(said % values)

    monkeypatch.setattr(node_module.logger, "log", note)
    async with (
        asyncio.timeout(40),
        built_app(settings, role=Role.SERVER) as one,
        built_app(settings, role=Role.SERVER) as two,
    ):
        await one.runs.start("waits", {}, actor="test")
        [name] = [node.name for node in await two.store.nodes() if node.node_id == one.store.node_id]
        kill(one.store)
        async with two.moving():
            said = await told.get()
        assert said.startswith(f"{name} died (node {one.store.node_id}), its runs go on: ")


def _tells(rejoin: Callable[[], Awaitable[None]], rejoined: asyncio.Event) -> Callable[[], Awaitable[None]]:
    async def telling() -> None:
        await rejoin()
        rejoined.set()

    return telling


async def _claims_nothing(*_: object) -> list[object]:
    return []


def _fails_first(rejoin: Callable[[], Awaitable[None]], rejoined: asyncio.Event) -> Callable[[], Awaitable[None]]:
    failures = [StoreUnavailable("the disk is full")]

    async def failing() -> None:
        if failures:
            raise failures.pop()
        await _tells(rejoin, rejoined)()

    return failing


async def test_a_node_with_nothing_to_do_notices_that_another_has_fallen_silent(tmp_path: Path, url: str) -> None:
    settings = Settings.load(definitions=(tmp_path,), lease_seconds=2)
    async with (
        Store.open(url, clock=utc_now, node_name="frozen", lease_seconds=2) as frozen,
        built_app(settings, role=Role.SERVER) as app,
        app.moving(),
        asyncio.timeout(30),
    ):
        ended = None
        while ended is None:
            await app.store.wait_for_change(app.store.change)
            ended = next(node.ended_at for node in await app.store.nodes() if node.node_id == frozen.node_id)
