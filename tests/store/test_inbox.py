"""Whatever comes from outside lands in the inbox, once, and is never overlooked: owned, waiting or finished."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import Any

import pytest

from mcp_workflows.engine.records import Message, RunRecord, Turn
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.errors import RecordRefused, UnknownRun
from mcp_workflows.store import Delivered, Store
from mcp_workflows.store.changes import APART_SECONDS
from tests.store.conftest import OpenStore
from tests.store.material import NOW, begin, claimed, done, finished, waiting
from tests.store.plans import plan_of

pytestmark = pytest.mark.anyio

FAR = NOW + timedelta(days=3000)


async def deliver(store: Store, run_id: str, **changes: Any) -> Delivered:
    return await store.deliver(run_id, "cancel", {"compensate": True}, actor="web:7", reason="typo", now=NOW, **changes)


async def cancel(store: Store, run_id: str, **changes: str) -> int:
    return (await deliver(store, run_id, **changes)).message_id


async def test_a_message_reaches_the_owner_wherever_it_was_delivered(open_store: OpenStore) -> None:
    async with open_store() as owner, open_store() as other:
        run_id = await begin(owner)
        message_id = await cancel(other, run_id)
        message = Message(message_id, run_id, "cancel", {"compensate": True}, "web:7", NOW, "typo")
        assert await owner.owned_messages() == [message]
        assert await other.owned_messages() == []
        assert await owner.load_messages(run_id, unconsumed_only=True) == [message]


async def test_a_message_is_consumed_with_what_was_decided_of_it_and_stays_on_record(open_store: OpenStore) -> None:
    async with open_store() as store:
        run_id = await begin(store)
        message_id = await cancel(store, run_id)
        assert not await store.consumed(message_id)
        await store.record(Turn(run_id, [done("a", 1)], consumed=[message_id]))
        assert await store.consumed(message_id)
        assert await store.owned_messages() == []
        assert await store.load_messages(run_id, unconsumed_only=True) == []
        assert [message.message_id for message in await store.load_messages(run_id, unconsumed_only=False)] == [
            message_id
        ]


async def test_a_message_is_consumed_once_and_by_its_own_run(open_store: OpenStore) -> None:
    async with open_store() as store:
        run_id, another = await begin(store), await begin(store)
        message_id = await cancel(store, run_id)
        with pytest.raises(RecordRefused, match="consumed before"):
            await store.record(Turn(another, consumed=[message_id]))
        await store.record(Turn(run_id, consumed=[message_id]))
        with pytest.raises(RecordRefused, match="consumed before"):
            await store.record(Turn(run_id, [done("a", 1)], consumed=[message_id]))
        assert await store.load_steps(run_id) == []


async def test_messages_keep_their_order(open_store: OpenStore) -> None:
    async with open_store() as store:
        run_id = await begin(store)
        ids = [await cancel(store, run_id) for _ in range(20)]
        assert [message.message_id for message in await store.owned_messages()] == ids == sorted(ids)


async def test_a_repeated_delivery_is_the_first_one(open_store: OpenStore) -> None:
    async with open_store() as store, open_store() as other:
        run_id, another = await begin(store), await begin(store)
        each = await asyncio.gather(*(deliver(one, run_id, dedupe_key="d") for one in (store, other) * 10))
        [message_id] = {delivered.message_id for delivered in each}
        assert [delivered.new for delivered in each].count(True) == 1
        of_another = await deliver(store, another, dedupe_key="d")
        assert (of_another.new, of_another.message_id != message_id) == (True, True)
        assert len(await store.load_messages(run_id, unconsumed_only=False)) == 1


async def test_a_message_makes_a_waiting_run_claimable_and_leaves_what_it_waits_for(open_store: OpenStore) -> None:
    async with open_store() as store, open_store() as other:
        run_id = await begin(store)
        await store.record(waiting(run_id, FAR))
        assert await claimed(other, NOW + timedelta(days=1)) == []
        await cancel(other, run_id)
        [run] = await other.claim_runs(FAR - timedelta(days=1), 9, [])
        assert run.run_id == run_id
        assert run.record.wake_at == FAR


async def test_a_message_to_a_finished_run_can_be_taken_in(open_store: OpenStore) -> None:
    async with open_store() as store:
        run_id = await begin(store)
        await store.record(finished(run_id))
        message_id = await cancel(store, run_id)
        [run] = await store.claim_runs(FAR, 9, [])
        assert run.record.status is RunStatus.COMPLETED
        await store.record(Turn(run_id, run=run.record, consumed=[message_id], release=True))
        assert await claimed(store, FAR) == []


async def test_a_run_released_with_an_unread_message_can_be_claimed_at_once(open_store: OpenStore) -> None:
    async with open_store() as store:
        run_id = await begin(store)
        await cancel(store, run_id)
        await store.record(waiting(run_id, None))
        assert await claimed(store, FAR) == [run_id]


async def test_a_message_that_races_with_the_release_is_never_overlooked(open_store: OpenStore) -> None:
    async with open_store() as store, open_store() as other:
        for _ in range(20):
            run_id = await begin(store)
            await asyncio.gather(store.record(waiting(run_id, None)), cancel(other, run_id))
            assert await claimed(other, FAR) == [run_id]
            await other.record(finished(run_id))
            assert await claimed(store, FAR) == [run_id]  # its message is still unread
            await store.record(
                Turn(
                    run_id, run=RunRecord(RunStatus.COMPLETED), consumed=[(await store.owned_messages())[0].message_id]
                )
            )


async def test_a_kept_message_wakes_nobody_any_more_and_can_be_consumed_later(open_store: OpenStore) -> None:
    async with open_store() as store:
        run_id = await begin(store)
        early = await cancel(store, run_id)
        asleep = waiting(run_id, None)
        await store.record(Turn(run_id, kept=[early]))
        assert await store.owned_messages() == []
        assert await store.consumed(early)  # taken in, for whoever waits for that
        await store.record(asleep)
        assert await claimed(store, FAR) == []
        assert [message.message_id for message in await store.load_messages(run_id, unconsumed_only=True)] == [early]
        late = await cancel(store, run_id)
        assert await claimed(store, FAR) == [run_id]
        assert [message.message_id for message in await store.load_messages(run_id, unconsumed_only=True)] == [
            early,
            late,
        ]
        assert [message.message_id for message in await store.owned_messages()] == [late]
        await store.record(asleep._replace(kept=[late, early]))  # as a node does that takes the run over
        assert await claimed(store, FAR) == []
        await cancel(store, run_id)
        assert await claimed(store, FAR) == [run_id]
        last = (await store.owned_messages())[0].message_id
        await store.record(finished(run_id)._replace(consumed=[early, late, last]))
        assert await claimed(store, FAR) == []


async def test_a_message_that_comes_while_another_is_kept_wakes_its_run(open_store: OpenStore) -> None:
    async with open_store() as store, open_store() as other:
        for _ in range(10):
            run_id = await begin(store)
            early = await cancel(store, run_id)
            await asyncio.gather(
                store.record(waiting(run_id, None)._replace(kept=[early])), cancel(other, run_id), cancel(store, run_id)
            )
            assert await claimed(other, FAR) == [run_id]


async def test_a_consumed_message_is_not_kept(open_store: OpenStore) -> None:
    async with open_store() as store:
        run_id, another = await begin(store), await begin(store)
        message_id = await cancel(store, run_id)
        with pytest.raises(RecordRefused):
            await store.record(Turn(another, kept=[message_id]))
        await store.record(Turn(run_id, kept=[message_id], consumed=[message_id]))
        with pytest.raises(RecordRefused, match="consumed before"):
            await store.record(Turn(run_id, kept=[message_id]))


async def test_kept_messages_are_not_gone_through_to_find_new_ones(open_store: OpenStore) -> None:
    async with open_store() as store:
        plan = await plan_of(store, store.owned_messages())
        assert re.search(r"inbox_unconsumed \(run=\? AND kept=\?\)|inbox_unconsumed.*\n +Index Cond: .*kept", plan)


async def test_a_repeated_delivery_wakes_nobody(open_store: OpenStore) -> None:
    async with open_store() as store:
        run_id = await begin(store)
        first = await deliver(store, run_id, dedupe_key="d")
        await store.record(waiting(run_id, None)._replace(consumed=[first.message_id]))
        before = store.change
        assert await deliver(store, run_id, dedupe_key="d") == (first.message_id, False)
        assert store.change == before
        assert await claimed(store, FAR) == []


async def test_a_message_to_no_run_is_refused(open_store: OpenStore) -> None:
    async with open_store() as store:
        with pytest.raises(UnknownRun):
            await cancel(store, "r_none")


async def test_any_reason_can_be_kept(open_store: OpenStore) -> None:
    reason = "NUL \0, half \ud83d, Gruß"
    async with open_store() as store:
        run_id = await begin(store)
        await store.deliver(run_id, "resume", {"output": reason}, actor="a", reason=reason, now=NOW)
        [message] = await store.owned_messages()
        assert (message.reason, message.body) == (reason, {"output": reason})


async def test_those_who_wait_learn_of_deliveries_by_this_process_and_by_others(open_store: OpenStore) -> None:
    async with open_store() as store, open_store() as other, asyncio.timeout(10):
        run_id = await begin(store)
        for deliverer in (store, other):
            before = store.change
            waits = asyncio.create_task(store.wait_for_change(before))
            await cancel(deliverer, run_id)
            assert await waits > before


async def test_who_hears_of_others_all_the_time_is_not_woken_all_the_time_and_misses_nothing(
    open_store: OpenStore,
) -> None:
    async with open_store() as store, open_store() as other, asyncio.timeout(30):
        run_id = await begin(store)
        clock = asyncio.get_running_loop().time
        before, began = store.change, clock()
        while clock() - began < 10 * APART_SECONDS:
            await cancel(other, run_id)
        seen = store.change
        last = await cancel(other, run_id)
        while last not in {message.message_id for message in await store.owned_messages()}:
            seen = await store.wait_for_change(seen)
        assert 0 < store.change - before <= (clock() - began) / APART_SECONDS + 2


async def test_own_records_wake_nobody(open_store: OpenStore) -> None:
    async with open_store() as store:
        run_id = await begin(store)
        before = store.change
        for number in range(20):
            await store.record(Turn(run_id, [done(f"s{number}", number)]))
        assert store.change == before
