"""A database that cannot be written for a while, an answer to COMMIT that never came: waited out, looked up, never guessed."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.records import AttemptRecord, Turn
from mcp_workflows.errors import NodeLost, StoreUnavailable
from tests.store.conftest import OpenStore
from tests.store.faults import (
    ON_POSTGRES,
    break_down,
    held,
    times,
    trouble,
)
from tests.store.material import NOW, begin, done
from tests.store.raw import ask
from tests.store.recording import BOUND, unwell

pytestmark = pytest.mark.anyio


FAILED_ATTEMPT = AttemptRecord("a", 1, StepError("http_500", "It is out of order."), NOW, NOW)
ATTEMPTS = pytest.mark.parametrize("attempts", [(), (FAILED_ATTEMPT,)], ids=["alone", "with an attempt"])
"""Steps alone are recorded by a statement that is a transaction of its own, where the database is a server."""


@ATTEMPTS
@pytest.mark.parametrize("name", ON_POSTGRES)
@pytest.mark.parametrize("at", ["BEGIN", "INSERT INTO step", "COMMIT"])
async def test_trouble_of_the_database_is_waited_out(
    open_store: OpenStore, name: str, at: str, attempts: Sequence[AttemptRecord]
) -> None:
    async with open_store() as store:
        runs = [await begin(store) for _ in range(5)]
        break_down(store, before=times(2, trouble(store, name), at=at))
        recording = [asyncio.create_task(store.record(Turn(run_id, [done("a", 1)], attempts))) for run_id in runs]
        await asyncio.gather(*recording)
        assert store.unwell is None
        for run_id in runs:
            assert await store.load_steps(run_id) == [done("a", 1)]


@ATTEMPTS
async def test_a_commit_whose_answer_was_lost_is_not_done_twice(
    open_store: OpenStore, attempts: Sequence[AttemptRecord]
) -> None:
    async with open_store() as store:
        run_id = await begin(store)
        lost = trouble(store, "SQLITE_IOERR")
        break_down(store, after=times(1, lost, at="COMMIT"))
        await store.record(Turn(run_id, [done("a", 1, {"x": 1})], attempts))
        assert await store.load_steps(run_id) == [done("a", 1, {"x": 1})]
        break_down(store, after=times(1, lost, at="COMMIT"))
        started = await begin(store)  # a call's result is kept too
        await store.record(Turn(started, [done("a", 1)]))


async def test_a_commit_that_may_have_happened_is_not_answered_before_it_is_known(open_store: OpenStore) -> None:
    async with open_store(lease_seconds=0.2) as store:
        run_id = await begin(store)
        gone = True

        def unreachable(sql: str) -> None:
            if gone and sql.startswith("BEGIN") and lost:
                raise trouble(store, "SQLITE_CANTOPEN")

        lost: list[str] = []

        def answer(sql: str) -> None:
            if sql == "COMMIT" and not lost:
                lost.append(sql)
                raise trouble(store, "SQLITE_IOERR")

        break_down(store, before=unreachable, after=answer)
        recording = asyncio.create_task(store.record(Turn(run_id, [done("a", 1)], [FAILED_ATTEMPT])))
        await asyncio.wait([recording], timeout=0.6)  # three leases
        assert not recording.done()
        gone = False
        await recording
        assert await store.load_steps(run_id) == [done("a", 1)]


@ATTEMPTS
async def test_a_node_that_can_record_nothing_lives_on_where_its_lease_can_be_renewed(
    open_store: OpenStore, url: str, attempts: Sequence[AttemptRecord]
) -> None:
    def beat_of(node_id: str) -> int:
        [(beat,)] = ask(url, "SELECT beat FROM node WHERE node_id = ?", [node_id])
        return beat

    async with open_store() as store:
        run_id = await begin(store)
        full = True

        def no_room(sql: str) -> None:
            if full and sql.startswith("INSERT INTO step"):
                raise trouble(store, "SQLITE_FULL")

        break_down(store, before=no_room)
        recording = asyncio.create_task(store.record(Turn(run_id, [done("a", 1)], attempts)))
        await unwell(store)
        before = beat_of(store.node_id)
        async with asyncio.timeout(BOUND):
            while beat_of(store.node_id) < before + 3:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert not recording.done()
        full = False
        await recording
        assert await store.load_steps(run_id) == [done("a", 1)]


async def test_a_node_in_trouble_that_was_taken_for_dead_finds_out_at_once(open_store: OpenStore, url: str) -> None:
    async with open_store() as store:
        run_id = await begin(store)
        break_down(store, before=times(1_000_000, trouble(store, "SQLITE_FULL"), at="INSERT INTO step"))
        recording = asyncio.create_task(store.record(Turn(run_id, [done("a", 1)])))
        await unwell(store)
        ask(url, "UPDATE node SET ended_at = 1 WHERE node_id = ?", [store.node_id])
        with pytest.raises(NodeLost):
            await recording


async def test_after_a_lease_of_trouble_callers_are_told_what_is_wrong(open_store: OpenStore) -> None:
    async with open_store(lease_seconds=0.2) as store:
        run_id = await begin(store)
        full = True

        def fault(sql: str) -> None:
            if full and sql.startswith("INSERT INTO step"):
                raise trouble(store, "SQLITE_FULL")

        break_down(store, before=fault)
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="full: free some space"):
                await store.record(Turn(run_id, [done("a", 1)]))
        assert store.unwell is not None
        full = False
        await store.record(Turn(run_id, [done("a", 1)]))
        assert store.unwell is None
        assert await store.load_steps(run_id) == [done("a", 1)]


async def test_the_event_loop_goes_on_while_the_database_does_not(open_store: OpenStore) -> None:
    async with open_store() as store:
        run_id = await begin(store)
        with held(store):
            recording = asyncio.create_task(store.record(Turn(run_id, [done("a", 1)])))
            for _ in range(3):
                assert await store.load_run(run_id) is not None
            assert not recording.done()
        await recording


async def test_a_database_file_that_was_deleted_is_noticed(open_store: OpenStore, tmp_path: Path) -> None:
    async with open_store(lease_seconds=0.2) as store:
        run_id = await begin(store)
        (tmp_path / "runs.db").rename(tmp_path / "moved.db")
        with pytest.raises(StoreUnavailable, match="moved or deleted"):
            await store.record(Turn(run_id, [done("a", 1)]))
        (tmp_path / "moved.db").rename(tmp_path / "runs.db")
        await store.record(Turn(run_id, [done("a", 1)]))


async def test_closing_does_not_wait_for_ever_for_a_database_in_trouble(open_store: OpenStore) -> None:
    async with asyncio.timeout(30):
        async with open_store() as store:
            run_id = await begin(store)
            break_down(store, before=times(10**9, trouble(store, "SQLITE_FULL"), at="BEGIN"))
            recording = asyncio.create_task(store.record(Turn(run_id, [done("a", 1)])))
        with pytest.raises((StoreUnavailable, NodeLost)):
            await recording


async def test_a_job_that_is_defective_fails_alone(open_store: OpenStore) -> None:
    async with open_store() as store:
        runs = [await begin(store) for _ in range(10)]

        def defect(_cursor: object, _now: int) -> None:
            raise KeyError("a defect")

        results = await asyncio.gather(
            *(store.record(Turn(run_id, [done("a", 1)])) for run_id in runs),
            store._call(defect),
            return_exceptions=True,
        )
        assert [result is None for result in results] == [True] * 10 + [False]


FULL_DISK = """
import asyncio, resource, sys
from mcp_workflows.clock import utc_now
from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.records import AttemptRecord, Turn
from mcp_workflows.errors import StoreUnavailable
from mcp_workflows.store import Store
from mcp_workflows.store.database import Database
from mcp_workflows.store.sqlite import Sqlite
from tests.store.material import NOW, begin, done
from tests.store.raw import ask
from tests.store.recording import BOUND, unwell

async def main():
    async with Store.open(sys.argv[1], clock=utc_now, node_name="test", lease_seconds=0.3) as store:
        run_id = await begin(store)
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
        kept = 0
        try:
            while kept < 1000:
                await store.record(Turn(run_id, [done(f"s{kept}", kept, "x" * 10_000)]))
                kept += 1
        except StoreUnavailable as error:
            print("unavailable", error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        await store.record(Turn(run_id, [done(f"s{kept}", kept, "x" * 10_000)]))
        steps = await store.load_steps(run_id)
        assert [step.path for step in steps] == [f"s{n}" for n in range(kept + 1)]
        print("kept", kept)

asyncio.run(main())
"""


def test_on_a_full_disk_nothing_is_lost_and_it_goes_on_when_there_is_room(url: str) -> None:
    assert resource.RLIM_INFINITY in resource.getrlimit(resource.RLIMIT_FSIZE)
    ended = subprocess.run([sys.executable, "-c", FULL_DISK, url], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    said = ended.stdout.splitlines()
    assert said[0].startswith("unavailable The database")
    assert said[1].startswith("kept ")
    assert int(said[1].split()[1]) > 10
