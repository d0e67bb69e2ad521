"""A run that waits costs a row: a hundred thousand of them are not looked at to find the one that is due."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from mcp_workflows.store import Store
from mcp_workflows.store.sqlite import Sqlite
from mcp_workflows.store.statements import claim
from tests.store.conftest import OpenStore
from tests.store.material import NOW, begin, claimed, waiting
from tests.store.plans import explained, plan_of

pytestmark = pytest.mark.anyio

MANY = 100_000
FAR = NOW + timedelta(days=3000)


def _path(store: Store) -> Path:
    assert isinstance(store._database, Sqlite)
    return store._database.path


def _multiply(store: Store) -> None:
    """``MANY`` more of the only run there is."""
    connection = sqlite3.connect(_path(store))
    try:
        names = [name for _, name, *_ in connection.execute("PRAGMA table_info(run)") if name not in {"key", "run_id"}]
        copied = ", ".join(names)
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            f"INSERT INTO run (run_id, {copied}) SELECT run_id || '.' || i, {copied} FROM run, n",
            (MANY,),
        )
        connection.commit()
    finally:
        connection.close()


async def test_the_next_run_is_found_among_a_hundred_thousand_that_wait(open_store: OpenStore) -> None:
    async with open_store() as store:
        await store.record(waiting(await begin(store), FAR))
        _multiply(store)
        due = [await begin(store) for _ in range(3)]
        for number, run_id in enumerate(due):
            await store.record(waiting(run_id, NOW + timedelta(minutes=3 - number)))
        assert await store.next_claim(NOW) == NOW + timedelta(minutes=1)
        assert await claimed(store, NOW + timedelta(hours=1)) == due[::-1]
        assert await store.next_claim(NOW) == FAR
        in_order = [
            await plan_of(store, store.next_claim(NOW)),
            await plan_of(store, store.claim_runs(NOW, 9, [5])),
            *(_plan_of_claim(store, timed=timed) for timed in (False, True)),
        ]
        suspects = _plan_of_claim(store, suspects=True)
        for plan in [*in_order, suspects]:
            assert "SEARCH run USING INDEX run_claimable (claim_at" in plan
            assert "SCAN run" not in plan
        assert not [plan for plan in in_order if "TEMP B-TREE" in plan]
        assert "TEMP B-TREE" in suspects  # few are suspects, and it is not by their time that they come first
        assert len(await store.claim_runs(FAR, 20, [])) == 20


def _plan_of_claim(store: Store, *, suspects: bool = False, timed: bool = False) -> str:
    prepared = claim(store._database.statements, suspects=suspects, timed=timed, cannot=[5])
    return explained(_path(store), prepared.sql, [0] * prepared.sql.count("?"))
