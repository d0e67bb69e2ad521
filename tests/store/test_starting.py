"""Starting is idempotent where it should be: by key, or by joining the run that is going already."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mcp_workflows.clock import new_id
from mcp_workflows.engine.records import RunRecord, Turn
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.errors import Busy, InputRefused, KeyConflict, NodeLost, RecordRefused
from mcp_workflows.store import NewRun, StartResult
from tests.store.conftest import OpenStore
from tests.store.material import NOW, begin, claimed, definition, done, finished, new_run

pytestmark = pytest.mark.anyio


async def test_a_run_begun_here_is_this_nodes_at_once(open_store: OpenStore) -> None:
    async with open_store() as store, open_store() as other:
        definition_id, _ = await store.define(definition())
        new = new_run(definition_id)
        result = await store.start(new)
        assert not result.joined
        assert result.run == await store.load_run(new.run_id)
        assert result.run.owner == store.node_id
        assert await claimed(other, NOW + timedelta(days=1)) == []


async def test_a_run_left_to_others_can_be_claimed_by_one_of_them(open_store: OpenStore) -> None:
    async with open_store() as store, open_store() as other:
        run_id = await begin(store, own=False, record=RunRecord(RunStatus.PENDING))
        took = await asyncio.gather(claimed(store, NOW), claimed(other, NOW))
        assert sorted(took) == [[], [run_id]]


async def test_the_same_key_and_input_give_the_same_run_from_any_process(open_store: OpenStore) -> None:
    async with open_store() as store, open_store() as other:
        first = await begin(store, idempotency_key="k1", input={"b": [1], "a": 2})
        second = await begin(other, idempotency_key="k1", input={"a": 2, "b": [1]})
        await store.record(finished(first))
        third = await begin(other, idempotency_key="k1", input={"a": 2, "b": [1]})
        assert first == second == third


async def test_a_key_with_other_input_is_refused_and_says_what_differs(open_store: OpenStore) -> None:
    async with open_store() as store:
        run_id = await begin(store, idempotency_key="k1", input={"amount": 1, "same": 0, "gone": 1})
        with pytest.raises(KeyConflict) as refused:
            await begin(store, idempotency_key="k1", input={"amount": True, "same": 0})
        assert str(refused.value) == (
            f'_idempotency_key "k1" belongs to {run_id} with other input (differs in: amount, gone). Use another key.'
        )


async def test_a_key_belongs_to_one_actor_and_one_workflow(open_store: OpenStore) -> None:
    async with open_store() as store:
        runs = [
            await begin(store, idempotency_key="k1"),
            await begin(store, idempotency_key="k1", actor="other"),
            await begin(store, idempotency_key="k1", workflow="other"),
        ]
        assert len(set(runs)) == 3


async def test_one_key_called_many_times_at_once_from_two_processes_starts_one_run(open_store: OpenStore) -> None:
    async with open_store() as store, open_store() as other:
        results = await asyncio.gather(*(begin(one, idempotency_key="k1") for one in (store, other) * 25))
        assert len(set(results)) == 1


async def test_many_calls_at_once_join_one_run(open_store: OpenStore) -> None:
    async with open_store() as store, open_store() as other:
        definition_id, _ = await store.define(definition())
        results = await asyncio.gather(
            *(one.start(new_run(definition_id, join_key="j")) for one in (store, other) * 25)
        )
        assert len({result.run.run_id for result in results}) == 1
        assert sum(not result.joined for result in results) == 1


@pytest.mark.parametrize("status", [RunStatus.RUNNING, RunStatus.PAUSED, RunStatus.COMPENSATING])
async def test_an_unfinished_run_is_joined(open_store: OpenStore, status: RunStatus) -> None:
    async with open_store() as store:
        run_id = await begin(store, join_key="j")
        await store.record(Turn(run_id, run=RunRecord(status)))
        assert await begin(store, join_key="j") == run_id


async def test_a_finished_run_is_joined_only_within_the_time_that_was_asked_for(open_store: OpenStore) -> None:
    async with open_store() as store:
        run_id = await begin(store, join_key="j")
        await store.record(finished(run_id, at=NOW))
        assert await begin(store, join_key="j", join_since=NOW) == run_id
        assert await begin(store, join_key="j", join_since=NOW + timedelta(microseconds=1)) != run_id
    async with open_store() as store:
        assert await begin(store, join_key="j2") != await begin(store, join_key="j3")


async def test_a_finished_run_is_not_joined_without_such_a_time(open_store: OpenStore) -> None:
    async with open_store() as store:
        run_id = await begin(store, join_key="j")
        await store.record(finished(run_id))
        assert await begin(store, join_key="j") != run_id


async def test_runs_of_others_are_not_joined(open_store: OpenStore) -> None:
    async with open_store() as store:
        run_id = await begin(store, join_key="j")
        assert await begin(store, join_key="j", actor="other") != run_id
        assert await begin(store, join_key="j", workflow="other") != run_id


@pytest.mark.parametrize("key", ["a\0b", "half \ud83d"])
async def test_a_key_that_some_database_cannot_compare_is_refused(open_store: OpenStore, key: str) -> None:
    async with open_store() as store:
        with pytest.raises(InputRefused, match="Use another one"):
            await begin(store, idempotency_key=key)


async def test_a_run_that_cannot_be_recorded_fails_alone(open_store: OpenStore) -> None:
    async with open_store() as store:
        definition_id, _ = await store.define(definition())
        run_id = new_id("r_")
        results = await asyncio.gather(
            *(store.start(new_run(definition_id)) for _ in range(9)),
            store.start(new_run(definition_id + 99)),  # no such definition
            store.start(new_run(definition_id, run_id=run_id)),
            store.start(new_run(definition_id, run_id=run_id)),  # twice the same id
            *(store.start(new_run(definition_id)) for _ in range(9)),
            return_exceptions=True,
        )
        assert [index for index, result in enumerate(results) if isinstance(result, BaseException)] == [9, 11]
        assert all(isinstance(results[index], RecordRefused) for index in (9, 11))


async def test_versions_count_contents_of_a_name(open_store: OpenStore) -> None:
    async with open_store() as store, open_store() as other:
        first = await store.define(definition("a", "d1"))
        second = await other.define(definition("a", "d2"))
        assert (first[1], second[1]) == (1, 2)
        assert await store.define(definition("a", "d1")) == first
        assert (await store.define(definition("b", "d1")))[1] == 1
        stored = await store.load_definition(second[0])
        assert stored == ("a", 2, definition("a", "d2").content)


async def test_one_content_defined_by_many_at_once_has_one_version(open_store: OpenStore) -> None:
    async with open_store() as store, open_store() as other:
        results = await asyncio.gather(*(one.define(definition("a", "d1")) for one in (store, other) * 10))
        assert len(set(results)) == 1


@pytest.mark.parametrize("yields", range(4))
async def test_a_run_whose_caller_is_gone_before_it_learns_of_it_can_be_claimed(
    open_store: OpenStore, yields: int
) -> None:
    async with open_store() as store, asyncio.timeout(30):
        definition_id, _ = await store.define(definition())
        new = new_run(definition_id)
        starting = asyncio.create_task(store.start(new))
        for _ in range(yields):
            await asyncio.sleep(0)
        starting.cancel()
        await asyncio.wait([starting])
        seen = store.change
        while yields and not await claimed(store, NOW):
            seen = await store.wait_for_change(seen)
        assert (await store.load_run(new.run_id) is None) == (yields == 0)


async def test_a_run_whose_caller_is_cancelled_in_the_moment_of_the_answer_can_be_claimed(
    open_store: OpenStore,
) -> None:
    async with open_store() as store, asyncio.timeout(30):
        definition_id, _ = await store.define(definition())
        answer = store._writer._answer

        def cancel_then_answer(*args: Any, **kwargs: Any) -> None:
            answer(*args, **kwargs)
            starting.cancel()  # its future is done, its task has not run yet

        store._writer._answer = cancel_then_answer
        seen = store.change
        starting = asyncio.create_task(store.start(new_run(definition_id)))
        with pytest.raises(asyncio.CancelledError):
            await starting
        store._writer._answer = answer
        while not await claimed(store, NOW):
            seen = await store.wait_for_change(seen)


async def test_runs_claimed_by_a_caller_that_is_gone_can_be_claimed_again(open_store: OpenStore) -> None:
    async with open_store() as store, asyncio.timeout(30):
        runs = {await begin(store, own=False) for _ in range(3)}
        for _ in range(10):
            claiming = asyncio.create_task(store.claim_runs(NOW, 9, []))
            await asyncio.wait([claiming], timeout=random.random() / 100)
            claiming.cancel()
            await asyncio.wait([claiming])
            if not claiming.cancelled():
                for run in claiming.result():
                    await store.give_back(run.run_id)
        again: set[str] = set()
        seen = store.change
        while True:
            again |= set(await claimed(store, NOW))
            if again == runs:
                break
            seen = await store.wait_for_change(seen)


async def test_what_is_started_at_the_same_time_is_as_if_one_came_after_the_other(open_store: OpenStore) -> None:
    async with open_store() as store:
        definition_id, _ = await store.define(definition())

        def new(**changes: Any) -> NewRun:
            return new_run(definition_id, **changes)

        ended = RunRecord(RunStatus.COMPLETED, {"ok": True}, started_at=NOW, finished_at=NOW)
        steps = [done(f"s{number}", number, {"n": number}) for number in range(3)]
        plain, computed = [new() for _ in range(70)], [new() for _ in range(70)]
        pinned, queued = (
            [new(pins={"child": (1, 2)}) for _ in range(9)],
            new(own=False, record=RunRecord(RunStatus.PENDING)),
        )
        of_key, of_work = new(idempotency_key="k"), new(join_key="j")
        results = await asyncio.gather(
            *(store.start(one) for one in plain),
            *(store.start(replace(one, ended=Turn(one.run_id, steps, run=ended))) for one in computed),
            *(store.start(one) for one in pinned),
            store.start(of_key),
            store.start(of_work),
            store.start(queued, max_queued=1),
            store.start(new(idempotency_key="k")),
            store.start(new(idempotency_key="k", input={"other": True})),
            store.start(new(idempotency_key="k2", join_key="j")),
            store.start(new(own=False, record=RunRecord(RunStatus.PENDING)), max_queued=1),
            return_exceptions=True,
        )
        *begun, joined, conflict, same_work, busy = results
        assert isinstance(conflict, KeyConflict)
        assert isinstance(busy, Busy)
        assert isinstance(joined, StartResult)
        assert isinstance(same_work, StartResult)
        assert (joined.run.run_id, joined.joined) == (of_key.run_id, True)
        assert (same_work.run.run_id, same_work.joined) == (of_work.run_id, True)
        for one, result in zip([*plain, *computed, *pinned, of_key, of_work, queued], begun, strict=True):
            assert isinstance(result, StartResult)
            assert not result.joined
            assert result.run == await store.load_run(one.run_id)
        for one in computed:
            assert await store.load_steps(one.run_id) == steps
            with pytest.raises(NodeLost):
                await store.record(finished(one.run_id))
        for one in (*plain, of_key):
            await store.record(finished(one.run_id))
