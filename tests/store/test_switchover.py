"""A server that gave up its place to another and can still be read: nobody goes on reading there."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcp_workflows.clock import utc_now
from mcp_workflows.engine.records import Turn
from mcp_workflows.store import Store
from tests.postgres import older_programs, programs, with_standby
from tests.store.material import begin, done
from tests.store.raw import ask

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("program", [programs, older_programs], ids=["postgres", "postgres15"])
async def test_what_is_read_after_a_switchover_is_what_was_written_there(program: Callable[[], Path]) -> None:
    with with_standby(program()) as (first, second, database, both):
        async with Store.open(both, clock=utc_now, node_name="test") as store:
            run_id = await begin(store)
            read = [store.load_steps(run_id) for _ in range(8)]
            assert await asyncio.gather(*read) == [[]] * 8
            with first.connect() as old, second.connect() as new:
                old.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on".encode())
                [(place,)] = old.execute("SELECT pg_current_wal_lsn()::text").fetchall()
                heard = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
                while new.execute(heard, [place]).fetchone() != (True,):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                new.execute("SELECT pg_promote()")
                new.execute(f"ALTER DATABASE {database} RESET default_transaction_read_only".encode())
                writer: Any = store._writer._connection
                old.execute("SELECT pg_terminate_backend(%s)", [writer.info.backend_pid])
            await store.record(Turn(run_id, [done("a", 1)]))
            assert ask(second.url(database), "SELECT count(*) FROM step") == [(1,)]
            read = [store.load_steps(run_id) for _ in range(8)]
            assert await asyncio.gather(*read) == [[done("a", 1)]] * 8
