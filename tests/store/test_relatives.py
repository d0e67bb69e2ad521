"""What a turn means for other runs is committed with it: children begin, messages arrive, once, and wake whom they must."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from mcp_workflows.clock import new_id, utc_now
from mcp_workflows.engine.records import NewChild, Outgoing, ParentRun, RunRecord, Turn
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.errors import RecordRefused
from tests.store.conftest import OpenStore
from tests.store.material import NOW, RUNNING, begin, claimed, done, finished, waiting
from tests.store.plans import plan_of

pytestmark = pytest.mark.anyio

FAR = NOW + timedelta(days=3000)
PINS = {"refund": (1, 1), "ship": (7, 3)}


def child_of(run_id: str, **changes: object) -> NewChild:
    child = NewChild(new_id("r_"), "charge", 1, 1, {"amount": 3}, ParentRun(run_id, "pay[3].charge", 2))
    return child._replace(**changes)


async def test_a_child_begins_with_the_turn_that_starts_it_and_takes_after_its_parent(open_store: OpenStore) -> None:
    async with open_store() as store, open_store() as other:
        parent = await begin(store, actor="web:7", pins=PINS, idempotency_key="k")
        child = child_of(parent)
        before = store.change
        await store.record(Turn(parent, [done("a", 1)], children=[child]))
        assert store.change > before
        run = await store.load_run(child.run_id)
        assert run is not None
        assert (run.actor, run.pins, run.parent, run.input) == ("web:7", PINS, child.parent, {"amount": 3})
        assert (run.record.status, run.idempotency_key, run.owner) == (RunStatus.PENDING, None, None)
        assert run.record.wake_at is None
        assert run.created_at <= utc_now()
        assert [claim.run_id for claim in await other.claim_runs(utc_now(), 9, [])] == [child.run_id]
        started = await store.load_run(parent)
        assert started is not None
        assert (started.parent, started.pins) == (None, PINS)


async def test_a_run_that_is_started_as_a_child_says_so(open_store: OpenStore) -> None:
    async with open_store() as store:
        parent = ParentRun("r_gone", "a", 1)
        run_id = await begin(store, parent=parent, pins=PINS)
        run = await store.load_run(run_id)
        assert run is not None
        assert (run.parent, run.pins) == (parent, PINS)


async def test_the_children_of_a_run_that_stand_so_are_found_by_an_index(open_store: OpenStore) -> None:
    async with open_store() as store:
        parent = ParentRun("r_gone", "a", 1)
        run_ids = [await begin(store, parent=parent) for _ in range(3)]
        await begin(store, parent=ParentRun("r_other", "a", 1))
        await store.record(Turn(run_ids[0], run=RunRecord(RunStatus.COMPLETED, finished_at=NOW)))
        reading = [store.load_children("r_gone", {RunStatus.RUNNING}, limit) for limit in (9, 1, 9)]
        assert [run.run_id for run in await reading[0]] == run_ids[1:]
        assert [run.run_id for run in await reading[1]] == run_ids[1:2]
        assert "run_by_parent" in await plan_of(store, reading[2])


async def test_a_detached_child_has_no_parent(open_store: OpenStore) -> None:
    async with open_store() as store:
        child = child_of(await begin(store, pins=PINS), parent=None)
        await store.record(Turn(next(iter(store._writer.holdings.runs)), children=[child]))
        run = await store.load_run(child.run_id)
        assert run is not None
        assert (run.parent, run.pins) == (None, PINS)


async def test_a_child_that_is_there_is_left_as_it_is(open_store: OpenStore) -> None:
    async with open_store() as store:
        parent = await begin(store)
        child = child_of(parent)
        await store.record(Turn(parent, children=[child]))
        [run] = await store.claim_runs(utc_now(), 9, [])
        await store.record(Turn(child.run_id, [done("a", 1)], run=RUNNING))
        await store.record(Turn(parent, children=[child, child._replace(input={"amount": 4})]))
        again = await store.load_run(child.run_id)
        assert again == run._replace(record=RUNNING)


async def test_a_child_of_a_refused_turn_does_not_begin(open_store: OpenStore) -> None:
    async with open_store() as store:
        parent = await begin(store)
        await store.record(Turn(parent, [done("a", 1)]))
        child = child_of(parent)
        with pytest.raises(RecordRefused):
            await store.record(Turn(parent, [done("a", 2, {"other": 1})], children=[child]))
        with pytest.raises(RecordRefused):
            await store.record(Turn(parent, [done("b", 2)], children=[child_of(parent, definition_id=99)]))
        with pytest.raises(RecordRefused):
            await store.record(Turn(parent, [done("b", 2)], children=[child_of(parent, input=float("nan"))]))
        assert await store.load_run(child.run_id) is None
        assert await store.load_steps(parent) == [done("a", 1)]


def ended(child: str, parent: str, **changes: object) -> Outgoing:
    body = {"path": "a", "generation": 1, "run_id": child, "status": "completed"}
    return Outgoing(parent, "child", body, f"child:{child}:1")._replace(**changes)


async def test_a_child_s_end_wakes_its_parent_and_is_told_once(open_store: OpenStore) -> None:
    async with open_store() as store, open_store() as other:
        parent, child = await begin(store), await begin(other, actor="web:7")
        await store.record(waiting(parent, None))
        before = other.change
        await other.record(finished(child)._replace(outgoing=[ended(child, parent), ended(child, parent)]))
        assert other.change > before
        [message] = await store.load_messages(parent, unconsumed_only=False)
        assert (message.kind, message.actor, message.body["run_id"]) == ("child", "web:7", child)
        assert await claimed(store, utc_now()) == [parent]


async def test_a_message_to_an_owned_run_waits_for_its_owner(open_store: OpenStore) -> None:
    async with open_store() as store, open_store() as other, asyncio.timeout(10):
        parent, child = await begin(store), await begin(other)
        before = store.change
        await other.record(Turn(child, outgoing=[ended(child, parent)]))
        await store.wait_for_change(before)
        assert [message.run_id for message in await store.owned_messages()] == [parent]
        assert await claimed(other, FAR) == []


async def test_a_child_that_ends_while_its_parent_goes_to_sleep_is_never_overlooked(open_store: OpenStore) -> None:
    async with open_store() as store:
        for turn in range(20):
            parent, child = await begin(store), await begin(store)
            turns = [waiting(parent, None), finished(child)._replace(outgoing=[ended(child, parent)])]
            await asyncio.gather(*(store.record(one) for one in (turns if turn % 2 else turns[::-1])))
            assert await claimed(store, utc_now()) == [parent]


async def test_a_turn_can_start_a_child_and_tell_it_something(open_store: OpenStore) -> None:
    async with open_store() as store:
        parent = await begin(store)
        child = child_of(parent)
        await store.record(Turn(parent, children=[child], outgoing=[Outgoing(child.run_id, "cancel", {}, "c")]))
        assert [message.kind for message in await store.load_messages(child.run_id, unconsumed_only=True)] == ["cancel"]


async def test_a_finished_run_is_woken_to_be_undone_and_for_nothing_else(open_store: OpenStore) -> None:
    async with open_store() as store:
        parent, child = await begin(store), await begin(store)
        await store.record(finished(child))
        await store.record(Turn(parent, outgoing=[Outgoing(child, "cancel", {}, "c")]))
        assert await claimed(store, FAR) == []
        await store.record(Turn(parent, outgoing=[Outgoing(child, "undo", {}, "u")]))
        [run] = await store.claim_runs(utc_now(), 9, [])
        assert (run.run_id, run.record.status) == (child, RunStatus.COMPLETED)
        told = [message.message_id for message in await store.load_messages(child, unconsumed_only=True)]
        await store.record(Turn(child, run=RunRecord(RunStatus.COMPENSATING, ends_as="compensated"), consumed=told))
        await store.record(Turn(child, run=RunRecord(RunStatus.COMPENSATED, finished_at=NOW), release=True))
        assert await claimed(store, FAR) == []


@pytest.mark.parametrize("status", [RunStatus.RUNNING, RunStatus.WAITING, RunStatus.FAILED, RunStatus.CANCELLED])
async def test_a_completed_run_can_be_undone_and_nothing_else(open_store: OpenStore, status: RunStatus) -> None:
    async with open_store() as store:
        parent, child = await begin(store), await begin(store)
        await store.record(finished(child))
        await store.record(Turn(parent, outgoing=[Outgoing(child, "undo", {}, "u")]))
        assert await claimed(store, utc_now()) == [child]
        if status in (RunStatus.FAILED, RunStatus.CANCELLED):  # all in one commit: undone, and ended
            await store.record(Turn(child, run=RunRecord(status), release=True))
            return
        with pytest.raises(RecordRefused, match="may not become"):
            await store.record(Turn(child, run=RunRecord(status)))


async def test_a_message_to_a_run_that_is_gone_does_no_harm(open_store: OpenStore) -> None:
    async with open_store() as store:
        child = await begin(store)
        await store.record(finished(child)._replace(outgoing=[ended(child, "r_gone")]))
        run = await store.load_run(child)
        assert run is not None
        assert run.record.status is RunStatus.COMPLETED


async def test_a_refused_turn_tells_nobody(open_store: OpenStore) -> None:
    async with open_store() as store:
        parent, child = await begin(store), await begin(store)
        with pytest.raises(RecordRefused):
            await store.record(Turn(child, [done("a", 1)], outgoing=[ended(child, parent)], consumed=[77]))
        assert await store.load_messages(parent, unconsumed_only=False) == []


async def test_any_text_can_be_told(open_store: OpenStore) -> None:
    async with open_store() as store:
        parent, child = await begin(store), await begin(store)
        body = {"output": "NUL \0, half \ud83d, Gruß"}
        await store.record(Turn(child, outgoing=[ended(child, parent, body=body)]))
        [message] = await store.owned_messages()
        assert message.body == body
