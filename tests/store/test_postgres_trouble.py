"""A server that goes away, cuts connections off or is slow; nodes that freeze, and nodes that compete for what they leave."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mcp_workflows.clock import utc_now
from mcp_workflows.engine.records import Turn
from mcp_workflows.engine.states import StepStatus
from mcp_workflows.errors import NodeLost, StoreUnavailable
from mcp_workflows.store import Store
from mcp_workflows.store.store import LEASE_SECONDS
from tests.postgres import PostgresServer, older_programs, postgres_server, programs
from tests.store.material import NOW, begin, claimed, done, kill, take_over
from tests.store.raw import ask, postgres_connection

pytestmark = pytest.mark.anyio

BOUND = 60.0


@pytest.fixture(scope="module", params=[programs, older_programs], ids=["postgres", "postgres15"])
def server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """One that is stopped and killed: nobody else's."""
    with postgres_server("fsync=off", bin_folder=request.param()) as server:
        yield server


@pytest.fixture
def own_url(server: PostgresServer) -> str:
    return server.new_database(template=server.template)


@asynccontextmanager
async def opened(url: str, *, lease_seconds: float = LEASE_SECONDS) -> AsyncGenerator[Store]:
    async with Store.open(url, clock=utc_now, node_name="test", lease_seconds=lease_seconds) as store:
        yield store


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(BOUND):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def keep_recording(store: Store, run_id: str, recorded: list[int], enough: asyncio.Event) -> None:
    """One step after the other, each again for as long as the database is unwell."""
    while not enough.is_set():
        number = len(recorded)
        try:
            await store.record(Turn(run_id, [done(f"s{number}", number, {"n": number})]))
        except StoreUnavailable:
            continue
        recorded.append(number)


@pytest.mark.parametrize("how", [signal.SIGQUIT, signal.SIGINT], ids=["crash", "restart"])
async def test_a_server_that_stops_in_the_middle_of_batches_and_comes_back_loses_and_repeats_nothing(
    server: PostgresServer, own_url: str, how: signal.Signals
) -> None:
    async with opened(own_url) as store:
        runs = {await begin(store): list[int]() for _ in range(20)}
        enough = asyncio.Event()
        busy = [asyncio.create_task(keep_recording(store, run_id, seen, enough)) for run_id, seen in runs.items()]
        for _ in range(2):
            before = sum(map(len, runs.values()))
            await until(lambda before=before: _true(sum(map(len, runs.values())) > before + 100))
            await asyncio.to_thread(server.stop, how)
            await until(lambda: _true(store.unwell is not None))
            server.spawn()
            await asyncio.to_thread(server.wait_until_ready)
            await until(lambda: _true(store.unwell is None))
        enough.set()
        await asyncio.gather(*busy)
        for run_id, seen in runs.items():
            assert [(step.path, step.output) for step in await store.load_steps(run_id)] == [
                (f"s{number}", {"n": number}) for number in seen
            ]


async def _true(condition: bool) -> bool:
    return condition


async def test_a_server_that_is_gone_is_told_of_and_reads_say_so_too(server: PostgresServer, own_url: str) -> None:
    async with opened(own_url, lease_seconds=0.3) as store:
        run_id = await begin(store)
        await asyncio.to_thread(server.stop)
        try:
            with pytest.raises(StoreUnavailable, match=r"cannot be used now.*Check that the server runs"):
                await store.record(Turn(run_id, [done("a", 1)]))
            with pytest.raises(StoreUnavailable, match="cannot be used now"):
                await store.load_run(run_id)
            assert store.unwell is not None
        finally:
            server.spawn()
            await asyncio.to_thread(server.wait_until_ready)
        await store.record(Turn(run_id, [done("a", 1)]))
        assert await store.load_steps(run_id) == [done("a", 1)]
        assert store.unwell is None


async def test_a_pooler_that_hands_the_session_around_is_told_of(
    own_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(own_url) as store:
        run_id = await begin(store)
        for number in range(20):
            await store.record(Turn(run_id, [done(f"a{number}", number + 1)]))
        connection = store._writer._connection
        assert connection is not None
        connection.execute("DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$")  # as if it were another's session
        await store.record(Turn(run_id, [done("b", 21)]))
        assert len(await store.load_steps(run_id)) == 21
    assert [record.getMessage() for record in caplog.records if "pool_mode = session" in record.getMessage()]


async def test_connections_that_the_server_ends_are_made_anew(own_url: str) -> None:
    async with opened(own_url) as store, opened(own_url) as other:
        run_id = await begin(store)
        for number in range(5):
            ask(
                own_url,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid()",
            )
            await store.record(Turn(run_id, [done(f"s{number}", number)]))
            assert len(await store.load_steps(run_id)) == number + 1
        async with asyncio.timeout(BOUND):  # the listeners are back too, or look by themselves
            before = store.change
            await other.deliver(run_id, "cancel", {}, actor="a", reason=None, now=NOW)
            await store.wait_for_change(before)


def _pid(store: Store) -> int:
    connection: Any = store._writer._connection
    return connection.info.backend_pid


class Standing:
    """A transaction of ``store``'s writer that has written and stands still, as in a frozen process, until it is let go on."""

    def __init__(self, store: Store) -> None:
        self._go_on, self._stands = threading.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def stand(_cursor: object, _now: int) -> None:
            loop.call_soon_threadsafe(self._stands.set)
            assert self._go_on.wait(BOUND)

        self.call = asyncio.create_task(store._call(stand))

    async def stands(self) -> None:
        async with asyncio.timeout(BOUND):
            await self._stands.wait()

    def go_on(self) -> None:
        self._go_on.set()


async def test_a_commit_cut_off_while_the_server_still_works_at_it_is_waited_for_and_not_done_twice(
    own_url: str,
) -> None:
    async with opened(own_url) as store:
        run_id = await begin(store)
        standing = Standing(store)
        await standing.stands()
        recording = asyncio.create_task(store.record(Turn(run_id, [done("a", 1)])))
        ask(own_url, "SELECT pg_terminate_backend(?)", [_pid(store)])
        standing.go_on()
        await asyncio.gather(standing.call, recording)
        assert await store.load_steps(run_id) == [done("a", 1)]
        assert ask(own_url, "SELECT count(*) FROM step") == [(1,)]


async def test_what_a_frozen_process_of_the_server_comes_to_late_changes_nothing(own_url: str) -> None:
    async with opened(own_url, lease_seconds=1.0) as store:
        run_id = await begin(store)
        frozen = _pid(store)
        os.kill(frozen, signal.SIGSTOP)
        try:
            await store.record(Turn(run_id, [done("a", 1)]))  # given up after a while, and written by another process
            assert _pid(store) != frozen
            undoing = done("a", 1)._replace(status=StepStatus.COMPENSATING)
            await store.record(Turn(run_id, [undoing]))
        finally:
            os.kill(frozen, signal.SIGCONT)

        async def ended() -> bool:
            return ask(own_url, "SELECT count(*) FROM pg_stat_activity WHERE pid = ?", [frozen]) == [(0,)]

        await until(ended)
        assert await store.load_steps(run_id) == [undoing]


async def test_a_node_frozen_inside_a_transaction_stands_in_nobodys_way_after_a_third_of_its_lease(
    own_url: str,
) -> None:
    async with opened(own_url, lease_seconds=3.0) as frozen, opened(own_url, lease_seconds=3.0) as store:
        run_id = await begin(frozen)
        standing = Standing(frozen)
        await standing.stands()

        async def dead() -> bool:
            return bool(await store.take_over())

        await until(dead)
        assert await claimed(store, utc_now()) == [run_id]
        late = asyncio.create_task(frozen.record(Turn(run_id, [done("late", 1)])))
        await asyncio.sleep(0)
        standing.go_on()
        with pytest.raises(NodeLost):
            await standing.call
        with pytest.raises(NodeLost):
            await late
        assert await store.load_steps(run_id) == []
        await store.record(Turn(run_id, [done("a", 1)]))


async def test_a_zombie_writes_nothing(own_url: str) -> None:
    async with opened(own_url) as zombie, opened(own_url) as store:
        run_id = await begin(zombie)
        kill(zombie)
        [taken] = await take_over(store)
        assert (taken.node_id, taken.runs) == (zombie.node_id, 1)
        with pytest.raises(NodeLost):
            await zombie.record(Turn(run_id, [done("a", 1)]))
        assert ask(own_url, "SELECT count(*) FROM step") == [(0,)]


async def test_of_observers_that_compete_for_a_dead_node_one_takes_over(own_url: str) -> None:
    async with opened(own_url) as dead, opened(own_url) as one, opened(own_url) as two, opened(own_url) as three:
        runs = {await begin(dead) for _ in range(10)}
        kill(dead)
        taken = [taken for found in await asyncio.gather(*map(take_over, (one, two, three))) for taken in found]
        assert [(found.node_id, found.runs) for found in taken] == [(dead.node_id, 10)]
        got = [await store.claim_runs(utc_now(), 4, []) for store in (one, two, three)]
        assert sorted(len(found) for found in got) == [2, 4, 4]
        assert {run.run_id for found in got for run in found} == runs
        assert {run.recoveries for found in got for run in found} == {1}


async def test_a_node_that_beats_after_it_was_found_silent_lives(own_url: str) -> None:
    async with opened(own_url) as slow, opened(own_url) as store:
        run_id = await begin(slow)
        kill(slow)
        await store.take_over()
        seen = store._observer._seen
        beat, since = seen[slow.node_id]
        found = store._find_dead
        seen[slow.node_id] = (beat, since - 2 * LEASE_SECONDS)

        def find_then_beat(living: Any) -> Any:
            dead = found(living)
            asyncio.run_coroutine_threadsafe(slow.record(Turn(run_id, [done("a", 1)])), loop).result(BOUND)
            return dead

        loop = asyncio.get_running_loop()
        store._find_dead = find_then_beat
        assert await store.take_over() == []
        await slow.record(Turn(run_id, [done("b", 2)]))


async def test_nodes_that_write_to_one_anothers_runs_at_once_do_not_stop_one_another(own_url: str) -> None:
    async with opened(own_url) as one, opened(own_url) as two, asyncio.timeout(BOUND):
        runs = [await begin(store) for store in (one, two) for _ in range(20)]
        before = ask(own_url, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")

        async def tell_all(store: Store, order: list[str]) -> None:
            for number in range(10):
                await asyncio.gather(
                    *(
                        store.deliver(
                            run_id, "signal", {}, actor="a", reason=None, now=NOW, dedupe_key=f"{store.node_id}{number}"
                        )
                        for run_id in order
                    )
                )

        await asyncio.gather(tell_all(one, runs), tell_all(two, runs[::-1]))
        assert ask(own_url, "SELECT count(*) FROM inbox") == [(40 * 20,)]
        assert ask(own_url, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == before


@pytest.mark.parametrize("how", ["idempotency_key", "join_key"])
async def test_one_run_is_begun_by_nodes_that_are_asked_for_the_same_at_once(own_url: str, how: str) -> None:
    async with opened(own_url) as one, opened(own_url) as two:
        for number in range(10):
            keys = {how: f"k{number}"}
            ids = await asyncio.gather(*(begin(store, **keys) for store in (one, two) * 4))
            assert len(set(ids)) == 1


async def test_a_definition_new_to_several_nodes_gets_one_number(own_url: str) -> None:
    async with opened(own_url) as one, opened(own_url) as two:
        ids = await asyncio.gather(*(begin(store) for store in (one, two) * 4))
        assert len(set(ids)) == 8
        assert ask(own_url, "SELECT count(*), max(version) FROM definition") == [(1, 1)]


async def test_trouble_while_reading_or_writing_does_not_outlast_a_lock_that_somebody_holds(own_url: str) -> None:
    async with opened(own_url, lease_seconds=1.0) as store:
        run_id = await begin(store)
        with postgres_connection(own_url) as somebody:
            somebody.execute("BEGIN")
            somebody.execute("LOCK TABLE step IN ACCESS EXCLUSIVE MODE")
            recording = asyncio.create_task(store.record(Turn(run_id, [done("a", 1)])))
            await until(lambda: _true(store.unwell is not None))
            assert "timeout" in (store.unwell or "")
            somebody.execute("COMMIT")
            try:
                await recording
            except StoreUnavailable:
                await store.record(Turn(run_id, [done("a", 1)]))
        assert await store.load_steps(run_id) == [done("a", 1)]
