"""Several real processes on one database, some of which die by SIGKILL."""

from __future__ import annotations

import asyncio
import random
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from mcp_workflows.engine.records import Turn
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.store import Store, TakenOver
from mcp_workflows.store.store import LEASE_SECONDS
from tests.mortal import mortal
from tests.store.conftest import OpenStore
from tests.store.material import NOW, begin, claimed, done

pytestmark = pytest.mark.anyio

FAR = NOW + timedelta(days=3000)
BOUND = 60
"""Seconds after which a test has failed, on a machine however busy."""


@asynccontextmanager
async def process(what: str, url: str, lease_seconds: float = LEASE_SECONDS) -> AsyncGenerator[Process]:
    """Another process, killed at the end if it still runs."""
    child = await asyncio.create_subprocess_exec(
        *mortal(sys.executable, "-m", "tests.store.processes", what, url, str(lease_seconds)), stdin=PIPE, stdout=PIPE
    )
    try:
        async with asyncio.timeout(BOUND):
            yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


async def line(child: Process) -> list[str]:
    assert child.stdout is not None
    return (await child.stdout.readline()).decode().split()


async def tell(child: Process) -> None:
    """Whatever it does, it ends it now."""
    assert child.stdin is not None
    child.stdin.write(b"\n")
    await child.stdin.drain()


async def kill(child: Process) -> str:
    """Kills, and answers with all it has still said."""
    child.kill()
    said, _ = await child.communicate()
    return said.decode()


async def taken_over(store: Store) -> list[TakenOver]:
    """Once somebody has died: at once on SQLite, after a lease of silence on PostgreSQL."""
    while not (taken := await store.take_over()):
        await store.beat()
        await asyncio.sleep(0.05)
    return taken


async def test_a_killed_process_is_taken_over_at_once(open_store: OpenStore, url: str) -> None:
    async with open_store() as store, process("own_a_run", url) as child:
        node_id, run_id = await line(child)
        assert await store.take_over() == []
        await kill(child)
        [taken] = await store.take_over()
        assert (taken.node_id, taken.runs) == (node_id, 1)
        [run] = await store.claim_runs(FAR, 9, [])
        assert (run.run_id, run.interrupted, run.recoveries) == (run_id, True, 1)


async def test_a_killed_process_is_taken_over_after_the_lease(open_store: OpenStore, url: str) -> None:
    async with open_store(lease_seconds=1.0) as store, process("own_a_run", url) as child:
        node_id, run_id = await line(child)
        await kill(child)
        [taken] = await taken_over(store)
        assert (taken.node_id, taken.runs) == (node_id, 1)
        [run] = await store.claim_runs(FAR, 9, [])
        assert (run.run_id, run.interrupted, run.recoveries) == (run_id, True, 1)


async def test_a_process_that_ends_gracefully_hands_over_without_a_crash(open_store: OpenStore, url: str) -> None:
    async with open_store() as store, process("own_a_run", url) as child:
        _, run_id = await line(child)
        await tell(child)
        assert await child.wait() == 0
        assert await store.take_over() == []
        [run] = await store.claim_runs(FAR, 9, [])
        assert (run.run_id, run.interrupted, run.recoveries) == (run_id, True, 0)


async def test_a_lock_dies_with_the_process_that_holds_it_and_its_half_written_transaction_too(
    open_store: OpenStore, url: str
) -> None:
    async with open_store() as store, process("hold_lock", url) as child:
        node_id, run_id = await line(child)
        waits = asyncio.create_task(begin(store))
        looks = await store.load_run(run_id)  # reading and the event loop go on meanwhile
        assert looks is not None
        assert not waits.done()
        await kill(child)
        mine = await waits
        await store.record(Turn(mine, [done("a", 1)]))
        assert [taken.node_id for taken in await store.take_over()] == [node_id]
        [run] = await store.claim_runs(FAR, 9, [])
        assert (run.run_id, run.record.status) == (run_id, RunStatus.RUNNING)


async def test_whatever_was_said_to_be_recorded_is_there_after_a_kill(
    open_store: OpenStore, url: str, is_intact: Callable[[], bool]
) -> None:
    said: list[list[str]] = []
    async with open_store(lease_seconds=3.0) as store:
        for _ in range(4):
            async with process("busy", url) as child:
                said += [await line(child) for _ in range(random.randint(50, 2000))]
                said += [words.split() for words in (await kill(child)).split("\n")[:-1]]
            await taken_over(store)
        await _check_all_there(store, said)
        assert await claimed(store, FAR)  # those in the middle go on here
        assert is_intact()


async def _check_all_there(store: Store, said: list[list[str]]) -> None:
    steps: dict[str, set[str]] = {}
    for run_id, what in (words for words in said if len(words) == 2):
        steps.setdefault(run_id, set()).add(what)
    assert len(steps) > 30
    for run_id, whats in steps.items():
        there = await store.load_steps(run_id)
        assert [step.path for step in there] == [f"s{number}" for number in range(len(there))]
        assert len(there) >= len(whats - {"finished"})
        run = await store.load_run(run_id)
        assert run is not None
        assert (run.record.status is RunStatus.COMPLETED) or "finished" not in whats


async def test_processes_share_runs_and_take_over_from_one_another(open_store: OpenStore, url: str) -> None:
    async with open_store() as store:
        runs = {await begin(store, own=False) for _ in range(120)}
        async with process("share", url, 4) as one, process("share", url, 4) as two, process("share", url, 4) as three:
            for child in (one, two, three):
                assert await line(child) == ["ready"]
            for _ in range(10):
                await line(three)
            await kill(three)
            seen = store.change
            while await _unfinished(store, runs):
                seen = await store.wait_for_change(seen)
            for child in (one, two):
                await tell(child)
                assert await child.wait() == 0
        for run_id in runs:
            assert [step.path for step in await store.load_steps(run_id)] == [f"s{number}" for number in range(10)]


async def _unfinished(store: Store, runs: set[str]) -> bool:
    for run_id in runs:
        run = await store.load_run(run_id)
        if run is None or not run.record.status.finished:
            return True
    return False


async def test_an_empty_file_is_migrated_by_one_of_many_processes_that_open_it_at_once(url: str) -> None:
    async with process("look", url) as one, process("look", url) as two, process("look", url) as three:
        ids = [(await line(child))[0] for child in (one, two, three)]
        assert len(set(ids)) == 3
        assert [await child.wait() for child in (one, two, three)] == [0, 0, 0]


async def test_those_who_wait_learn_of_what_another_process_committed(open_store: OpenStore, url: str) -> None:
    async with open_store() as store:
        waits = asyncio.create_task(store.wait_for_change(store.change))
        async with process("own_a_run", url):
            await waits
