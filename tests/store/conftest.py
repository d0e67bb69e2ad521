"""The database under test. The bodies of the tests know no dialect; what differs between dialects is made here."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, closing
from functools import partial
from typing import TypeAlias

import pytest

from mcp_workflows.clock import utc_now
from mcp_workflows.store import Store
from tests.store.raw import ask

OpenStore: TypeAlias = Callable[..., AbstractAsyncContextManager[Store]]


@pytest.fixture
def open_store(url: str) -> OpenStore:
    """``async with open_store(node_name=…)``: another node on the same database each time."""
    return partial(Store.open, url, clock=utc_now, node_name="test")


@pytest.fixture
def is_intact(url: str) -> Callable[[], bool]:
    """Whether the database finds nothing wrong with itself."""
    return partial(_sqlite_is_intact if url.startswith("sqlite") else _postgres_is_intact, url)


def _sqlite_is_intact(url: str) -> bool:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        broken_keys = connection.execute("PRAGMA foreign_key_check").fetchall()
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)] and not broken_keys


def _postgres_is_intact(url: str) -> bool:
    orphans = (
        "SELECT (SELECT count(*) FROM step WHERE run NOT IN (SELECT key FROM run)) + "
        "(SELECT count(*) FROM run WHERE owner NOT IN (SELECT node_id FROM node))"
    )
    return ask(url, orphans) == [(0,)]
