"""A database that went back behind what it had said was committed: a standby that had not heard of it, a backup put back."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from mcp_workflows.clock import utc_now
from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.records import AttemptRecord, Turn
from mcp_workflows.errors import NodeLost
from mcp_workflows.store import Store
from tests.postgres import PostgresServer, older_programs, programs, with_standby
from tests.store.material import NOW, begin, claimed, done, waiting
from tests.store.raw import ask

pytestmark = pytest.mark.anyio

BOUND = 60.0
FAILED_ATTEMPT = AttemptRecord("b", 1, StepError("http_500", "It is out of order."), NOW, NOW)
ATTEMPTS = pytest.mark.parametrize("attempts", [(), (FAILED_ATTEMPT,)], ids=["alone", "with an attempt"])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(BOUND):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@ATTEMPTS
async def test_no_step_is_recorded_after_one_that_was_lost_with_a_backup_put_back(
    tmp_path: Path, attempts: tuple[AttemptRecord, ...]
) -> None:
    file, backup = tmp_path / "runs.db", tmp_path / "backup.db"
    async with Store.open(f"sqlite:///{file}", clock=utc_now, node_name="test") as store:
        run_id = await begin(store)
        with closing(sqlite3.connect(file)) as live, closing(sqlite3.connect(backup)) as copy:
            live.backup(copy)
            await store.record(Turn(run_id, [done("a", 1)]))
            copy.backup(live)
        with pytest.raises(NodeLost):
            await store.still_ours()
        with pytest.raises(NodeLost):
            await store.record(Turn(run_id, [done("b", 2)], attempts))
        assert await store.load_steps(run_id) == []


@pytest.mark.parametrize("program", [programs, older_programs], ids=["postgres", "postgres15"])
async def test_after_a_failover_that_lost_commits_no_node_goes_on_with_what_it_remembers(
    program: Callable[[], Path],
) -> None:
    with with_standby(program()) as (first, second, database, both):
        async with (
            Store.open(both, clock=utc_now, node_name="one") as one,
            Store.open(both, clock=utc_now, node_name="two") as two,
        ):
            records, gives = await begin(one), await begin(one)
            await two.beat()
            await hears_no_more(first, second, database)
            await one.record(Turn(records, [done("a", 1)]))
            await one.record(waiting(gives, NOW))
            assert await claimed(two, utc_now()) == [gives]
            await asyncio.to_thread(first.stop, signal.SIGQUIT)
            with second.connect() as connection:
                connection.execute("SELECT pg_promote()")
            with pytest.raises(NodeLost):
                await one.record(Turn(records, [done("b", 2)]))
            with pytest.raises(NodeLost):  # the other one's still, as far as this server knows
                await two.record(Turn(gives, [done("b", 1)], [FAILED_ATTEMPT]))
            assert ask(second.url(database), "SELECT count(*) FROM step") == [(0,)]
            for store in (one, two):
                await store.rejoin()
                await store.still_ours()
        first.start()  # so that there is something to stop


async def hears_no_more(first: PostgresServer, second: PostgresServer, database: str) -> None:
    """``second`` knows what ``first`` has committed until now, and nothing after it."""
    [(place,)] = ask(first.url(database), "SELECT pg_current_wal_lsn()::text")
    heard = "SELECT pg_last_wal_replay_lsn() >= ?::pg_lsn"
    await until(lambda: ask(second.url(database), heard, [place]) == [(True,)])
    with second.connect() as connection:
        connection.execute("ALTER SYSTEM SET primary_conninfo = ''")
        connection.execute("SELECT pg_reload_conf()")
    await until(lambda: ask(first.url(database), "SELECT count(*) FROM pg_stat_replication") == [(0,)])
