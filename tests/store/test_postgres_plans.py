"""A run that waits costs a row on PostgreSQL too: a hundred thousand of them are not looked at to find the one that is due."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from mcp_workflows.clock import utc_now
from mcp_workflows.store import Store
from mcp_workflows.store.prepared import Prepared
from mcp_workflows.store.statements import claim
from tests.postgres import Databases
from tests.store.material import NOW, begin, claimed, waiting
from tests.store.raw import ask, postgres_connection

pytestmark = pytest.mark.anyio

MANY = 100_000
FAR = NOW + timedelta(days=3000)


@pytest.fixture
def server_url(postgres: Databases) -> str:
    return postgres.new_database(template=postgres.template)


@pytest.fixture
async def store(server_url: str) -> AsyncIterator[Store]:
    async with Store.open(server_url, clock=utc_now, node_name="test") as store:
        yield store


def _multiply(url: str) -> None:
    """``MANY`` more of the only run there is."""
    names = ask(
        url, "SELECT column_name FROM information_schema.columns WHERE table_name = 'run' AND table_schema = 'public'"
    )
    copied = ", ".join(sorted(name for (name,) in names if name not in {"key", "run_id"}))
    ask(
        url,
        f"INSERT INTO run (run_id, {copied}) SELECT run_id || '.' || i, {copied} FROM run, generate_series(1, ?) AS i",
        [MANY],
    )
    ask(url, "ANALYZE run")


def _plan(url: str, statement: Prepared) -> str:
    """As it is once the statement has been prepared, whatever the values."""
    with postgres_connection(url) as connection:
        connection.execute("SET plan_cache_mode = force_generic_plan")
        connection.execute(f"PREPARE asked AS {statement.sql}".encode())
        asked = {"me": "''", "now": "1", "at_most": "9"}
        values = ", ".join(asked.get(name, "2") for name in statement._names)
        return "\n".join(row[0] for row in connection.execute(f"EXPLAIN EXECUTE asked ({values})".encode()))


async def test_the_next_run_is_found_among_a_hundred_thousand_that_wait(store: Store, server_url: str) -> None:
    await store.record(waiting(await begin(store), FAR))
    _multiply(server_url)
    due = [await begin(store) for _ in range(3)]
    for number, run_id in enumerate(due):
        await store.record(waiting(run_id, NOW + timedelta(minutes=3 - number)))
    for suspects, timed in [(False, False), (False, True), (True, False)]:
        plan = _plan(server_url, claim(store._database.statements, suspects=suspects, timed=timed, cannot=[5]))
        assert "run_claimable" in plan
        assert "Seq Scan" not in plan
        # Of one instant by their keys, as far as the limit goes. Suspects are few, and do not come by their time.
        assert ("Incremental Sort" in plan) is not suspects
    assert await store.next_claim(NOW) == NOW + timedelta(minutes=1)
    assert await claimed(store, NOW + timedelta(hours=1)) == due[::-1]
    assert await store.next_claim(NOW) == FAR
    assert len(await store.claim_runs(FAR, 20, [])) == 20
