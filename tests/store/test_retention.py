"""Runs that finished long ago are deleted as whole trees, a little at a time; what still goes on, or may, is left alone."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.records import AttemptRecord, NewChild, ParentRun, RunRecord, Turn
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.errors import UnknownRun
from mcp_workflows.runtime.retention import Retention, Swept
from mcp_workflows.runtime.views import RunQuery
from mcp_workflows.store import Store, retention
from tests.store.conftest import OpenStore
from tests.store.material import NOW, begin, claimed, done, finished, kill, take_over, waiting
from tests.store.raw import ask

pytestmark = pytest.mark.anyio

LATER = NOW + timedelta(days=40)
CUTOFF = NOW + timedelta(days=10)
TABLES = ("run", "step", "attempt", "inbox", "blob")


def left(url: str) -> dict[str, int]:
    return {table: ask(url, f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}


def sweeper(store: Store) -> Retention:
    return Retention(store, lambda: LATER)


async def sweep(store: Store, before: datetime = CUTOFF) -> Swept:
    return await sweeper(store).sweep(before, rest=0.0)


async def family(store: Store, *, child_finished: datetime | None = NOW, depth: int = 2) -> list[str]:
    """A run that has finished, its child, and so on; the last of them finished at ``child_finished``, or waits."""
    ids = [await begin(store)]
    for level in range(1, depth):
        parent = ids[-1]
        run = await store.load_run(parent)
        assert run is not None
        child = NewChild(f"{ids[0]}.{level}", "charge", 1, run.definition_id, {}, ParentRun(parent, "a", 0))
        await store.record(Turn(parent, [done("a", 1)], children=[child]))
        await store.record(finished(parent))
        assert await claimed(store, LATER) == [child.run_id]
        ids.append(child.run_id)
    await store.record(waiting(ids[-1], None) if child_finished is None else finished(ids[-1], at=child_finished))
    return ids


async def test_a_finished_run_goes_with_all_that_is_recorded_of_it(open_store: OpenStore, url: str) -> None:
    async with open_store() as store:
        run_id = await begin(store, idempotency_key="k", join_key="j")
        failed = AttemptRecord("a", 1, StepError("timeout", "late"), NOW, NOW)
        await store.put_blob(run_id, b"x" * 100, None)
        await store.deliver(run_id, "signal", {}, actor="a", reason=None, now=NOW)
        [message] = await store.owned_messages()
        await store.record(Turn(run_id, [done("a", 1)], [failed], consumed=[message.message_id]))
        await store.record(finished(run_id))
        assert set(left(url).values()) == {1}
        assert await sweeper(store).count(CUTOFF) == Swept(1, 1)
        assert await sweep(store) == Swept(1, 1)
        assert set(left(url).values()) == {0}
        again = await begin(store, idempotency_key="k", join_key="j")
        assert again != run_id


@pytest.mark.parametrize("status", [RunStatus.RUNNING, RunStatus.WAITING, RunStatus.PAUSED])
async def test_what_has_not_finished_is_kept_however_old_it_is(open_store: OpenStore, status: RunStatus) -> None:
    async with open_store() as store:
        run_id = await begin(store)
        await store.record(Turn(run_id, run=RunRecord(status, started_at=NOW), release=status is not RunStatus.RUNNING))
        assert await sweep(store, LATER) == Swept()
        assert await store.load_run(run_id) is not None


async def test_what_finished_a_short_while_ago_is_kept(open_store: OpenStore) -> None:
    async with open_store() as store:
        run_id = await begin(store)
        await store.record(finished(run_id, at=CUTOFF))
        assert await sweep(store) == Swept()
        assert await sweep(store, CUTOFF + timedelta(microseconds=1)) == Swept(1, 1)
        assert await store.load_run(run_id) is None


async def test_a_family_goes_whole(open_store: OpenStore, url: str) -> None:
    async with open_store() as store:
        await family(store, depth=4)
        kept = await begin(store)
        assert await sweeper(store).count(CUTOFF) == Swept(1, 4)
        assert await sweep(store) == Swept(1, 4)
        assert left(url)["run"] == 1
        assert await store.load_run(kept) is not None


@pytest.mark.parametrize("child_finished", [None, CUTOFF + timedelta(days=1)])
async def test_a_family_is_kept_whole_while_one_of_it_goes_on_or_has_just_ended(
    open_store: OpenStore, child_finished: datetime | None
) -> None:
    async with open_store() as store:
        ids = await family(store, child_finished=child_finished, depth=3)
        assert await sweep(store) == Swept()
        assert [await store.load_run(run_id) is not None for run_id in ids] == [True] * 3


async def test_a_finished_run_that_was_told_to_go_on_is_kept(open_store: OpenStore) -> None:
    async with open_store() as store:
        parent, child = await family(store)
        await store.deliver(child, "resume", {}, actor="a", reason=None, now=NOW)
        assert await sweep(store) == Swept()
        assert await claimed(store, LATER) == [child]
        assert await sweep(store) == Swept()  # it is owned
        assert await store.load_run(parent) is not None


async def test_one_that_is_told_to_go_on_after_it_was_looked_at_is_kept_with_its_family(open_store: OpenStore) -> None:
    async with open_store() as store:
        _, child = await family(store)
        [tree] = (await store.expired(CUTOFF)).trees
        await store.deliver(child, "resume", {}, actor="a", reason=None, now=NOW)
        assert await store.withdraw([tree], CUTOFF) == []
        assert await store.delete_some() == 0
        assert await claimed(store, LATER) == [child]


async def test_what_is_being_deleted_can_neither_be_seen_nor_told_anything(open_store: OpenStore, url: str) -> None:
    async with open_store() as store:
        run_id = await begin(store)
        await store.record(finished(run_id))
        page = await store.expired(CUTOFF)
        assert await store.withdraw(page.trees, CUTOFF) == list(page.trees)
        assert await store.withdraw(page.trees, CUTOFF) == []
        assert left(url)["run"] == 1
        assert await store.load_run(run_id) is None
        assert (await store.list_runs(RunQuery(status="any"))).runs == []
        with pytest.raises(UnknownRun):
            await store.deliver(run_id, "resume", {}, actor="a", reason=None, now=NOW)
        assert (await store.expired(CUTOFF)).trees == []


async def test_deleting_goes_on_where_a_dead_process_left_off(open_store: OpenStore, url: str) -> None:
    async with open_store() as store:
        async with open_store() as dead:
            run_id = await begin(dead)
            steps = [done(f"s{number}", number) for number in range(2500)]
            await dead.record(Turn(run_id, steps))
            await dead.record(finished(run_id))
            await dead.withdraw((await dead.expired(CUTOFF)).trees, CUTOFF)
            assert await dead.delete_some() == retention.ROWS
            kill(dead)
            await take_over(store)
        assert left(url)["step"] == 2500 - retention.ROWS
        assert await sweep(store) == Swept()
        assert left(url)["run"] == left(url)["step"] == 0


async def test_no_transaction_deletes_more_than_so_much(
    open_store: OpenStore, url: str, is_intact: Callable[[], bool]
) -> None:
    async with open_store() as store:
        for _ in range(3):
            run_id = await begin(store)
            await store.record(Turn(run_id, [done(f"s{number}", number) for number in range(900)]))
            for number in range(3):
                await store.put_blob(run_id, bytes([number]), None)
            await store.record(finished(run_id))
        await store.withdraw((await store.expired(CUTOFF)).trees, CUTOFF)
        deleted: list[int] = []
        while not deleted or deleted[-1]:
            before = left(url)
            deleted.append(await store.delete_some())
            after = left(url)
            assert before["blob"] - after["blob"] <= retention.BLOB_PARTS
        assert max(deleted) <= retention.ROWS + retention.RUNS
        assert set(left(url).values()) == {0}
        assert is_intact()


async def test_trees_that_are_kept_do_not_stand_in_the_way_of_others(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PAGE", 3)
    async with open_store() as store:
        for _ in range(4):
            await family(store, child_finished=None)
        gone: Any = [await begin(store) for _ in range(7)]
        for run_id in gone:
            await store.record(finished(run_id))
        assert await sweep(store) == Swept(7, 7)
        assert await sweep(store) == Swept()


async def test_two_that_sweep_at_once_delete_everything_once(open_store: OpenStore, url: str) -> None:
    async with open_store() as one, open_store() as other:
        for _ in range(60):
            run_id = await begin(one)
            await one.record(Turn(run_id, [done(f"s{number}", number) for number in range(20)]))
            await one.record(finished(run_id))
        swept = await asyncio.gather(sweep(one), sweep(other))
        assert sum(one.trees for one in swept) == 60
        assert set(left(url).values()) == {0}
