"""The database under test. The bodies of the tests know no dialect; what differs between dialects is made here."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest

from mcp_workflows.clock import utc_now
from mcp_workflows.store import Store

OpenStore: TypeAlias = Callable[..., AbstractAsyncContextManager[Store]]


@pytest.fixture(params=["sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each dialect."""
    assert request.param == "sqlite"
    return f"sqlite:///{tmp_path / 'runs.db'}"


@pytest.fixture
def open_store(url: str) -> OpenStore:
    """``async with open_store(node_name=…)``: another node on the same database each time."""
    return partial(Store.open, url, clock=utc_now, node_name="test")


@pytest.fixture
def is_intact(url: str) -> Callable[[], bool]:
    """Whether the database finds nothing wrong with itself."""

    def check() -> bool:
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        try:
            broken_keys = connection.execute("PRAGMA foreign_key_check").fetchall()
            return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)] and not broken_keys
        finally:
            connection.close()

    return check
