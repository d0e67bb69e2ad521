"""Steps alone as a transaction of one statement: fenced, checked and committed by itself, on PostgreSQL."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from mcp_workflows.clock import utc_now
from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.records import AttemptRecord, Turn
from mcp_workflows.engine.states import StepStatus
from mcp_workflows.errors import NodeLost, RecordRefused
from mcp_workflows.store import Store
from tests.store.conftest import OpenStore
from tests.store.material import NOW, begin, done
from tests.store.raw import ask, postgres_connection

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("url", ["postgres", "postgres15"], indirect=True)]

BOUND = 60.0
FAILED_ATTEMPT = AttemptRecord("a", 1, StepError("http_500", "It is out of order."), NOW, NOW)


class Counted(psycopg.RawCursor[Any]):
    """Notes what it executes."""

    said: list[str]

    def execute(self, query: Any, *given: Any, **options: Any) -> Any:
        self.said.append(str(query))
        return super().execute(query, *given, **options)


def listen_in(store: Store) -> list[str]:
    """What the writer says to the server from now on."""

    class Mine(Counted):
        said: list[str] = []  # noqa: RUF012

    connection: Any = store._writer._connection
    connection.cursor_factory = Mine
    return Mine.said


async def test_steps_alone_take_one_round_trip_however_many_runs_they_are_of(open_store: OpenStore) -> None:
    async with open_store() as store:
        runs = [await begin(store) for _ in range(5)]
        said = listen_in(store)
        turns = [Turn(run_id, [done("a", 1), done("b", 2, {"of": run_id})]) for run_id in runs]
        await asyncio.gather(*map(store.record, turns))
        assert 1 <= len(said) <= len(runs)
        assert all(sql.startswith("\nWITH fence") for sql in said)
        for run_id in runs:
            assert await store.load_steps(run_id) == [done("a", 1), done("b", 2, {"of": run_id})]


@pytest.mark.parametrize(
    "turn",
    [
        Turn("", [done("a", 1)], [FAILED_ATTEMPT]),
        Turn("", [done("a", 1)._replace(status=StepStatus.FAILED, error=FAILED_ATTEMPT.error)]),
        Turn("", [done("a", 1)._replace(status=StepStatus.RUNNING), done("a", 1)]),
    ],
    ids=["with an attempt", "that failed", "twice the same"],
)
async def test_whatever_else_there_is_to_say_is_a_transaction_of_several(open_store: OpenStore, turn: Turn) -> None:
    async with open_store() as store:
        run_id = await begin(store)
        said = listen_in(store)
        await store.record(turn._replace(run_id=run_id))
        assert (said[0], said[-1]) == (store._database.begin, "COMMIT")


async def test_of_many_steps_alone_one_that_is_refused_fails_alone_and_nothing_of_it_is_written(
    open_store: OpenStore,
) -> None:
    async with open_store() as store:
        runs = [await begin(store) for _ in range(9)]
        await store.record(Turn(runs[4], [done("a", 1, "settled")]))
        turns = [Turn(run_id, [done("before", 0), done("a", 1, {"of": run_id})]) for run_id in runs]
        results = await asyncio.gather(*map(store.record, turns), return_exceptions=True)
        assert [type(result) for result in results] == [*[type(None)] * 4, RecordRefused, *[type(None)] * 4]
        assert "a settled step would be written over" in str(results[4])
        assert await store.load_steps(runs[4]) == [done("a", 1, "settled")]
        assert await store.load_steps(runs[5]) == [done("before", 0), done("a", 1, {"of": runs[5]})]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(BOUND):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("verdict", ["COMMIT", "ROLLBACK"])
async def test_a_node_whose_death_is_being_declared_waits_for_the_verdict(
    open_store: OpenStore, url: str, verdict: str
) -> None:
    def waits() -> bool:
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND position('fence' in query) > 0"
        )
        return ask(url, waiting + " AND datname = current_database() AND pid <> pg_backend_pid()") == [(1,)]

    async with open_store() as store:
        run_id = await begin(store)
        with postgres_connection(url) as observer:
            observer.execute("BEGIN")
            observer.execute("UPDATE node SET ended_at = 1, crashed = true WHERE node_id = %s", [store.node_id])
            recording = asyncio.create_task(store.record(Turn(run_id, [done("a", 1)])))
            await until(waits)
            observer.execute(verdict.encode())
        if verdict == "COMMIT":
            with pytest.raises(NodeLost):
                await recording
            assert await store.load_steps(run_id) == []
        else:
            await recording
            assert await store.load_steps(run_id) == [done("a", 1)]


async def test_a_server_whose_transactions_see_one_state_for_long_is_told_otherwise(
    open_store: OpenStore, url: str
) -> None:
    [(database,)] = ask(url, "SELECT current_database()")
    ask(url, f"ALTER DATABASE \"{database}\" SET default_transaction_isolation = 'serializable'")
    async with Store.open(url, clock=utc_now, node_name="test") as store:
        await begin(store)
        connection: Any = store._writer._connection
        assert connection.execute("SHOW transaction_isolation").fetchone() == ("read committed",)
