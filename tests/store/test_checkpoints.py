"""The write-ahead log of SQLite: bounded, and checkpointed by nobody but us, under the lock."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mcp_workflows.engine.records import Turn
from mcp_workflows.store import checkpoints
from tests.store.conftest import OpenStore
from tests.store.material import begin, done

pytestmark = pytest.mark.anyio


async def test_the_log_does_not_grow_with_what_is_written(
    open_store: OpenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_intact: Callable[[], bool]
) -> None:
    monkeypatch.setattr(checkpoints, "DUE_BYTES", 300_000)
    async with open_store() as store, open_store() as other:
        for one in (store, other):
            run_id = await begin(one)
            for number in range(150):
                await one.record(Turn(run_id, [done(f"s{number}", number, "x" * 20_000)]))
        assert (tmp_path / "runs.db").stat().st_size > 3_000_000
        assert (tmp_path / "runs.db-wal").stat().st_size < 3_000_000
        assert is_intact()


async def test_the_last_one_to_close_leaves_no_log(open_store: OpenStore, tmp_path: Path) -> None:
    async with open_store() as store:
        run_id = await begin(store)
        await store.record(Turn(run_id, [done("a", 1)]))
        async with open_store():
            pass
        assert (tmp_path / "runs.db-wal").exists()
    assert not (tmp_path / "runs.db-wal").exists()
