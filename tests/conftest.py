"""Shared by all tests."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.dialects import SQLITE_ONLY
from tests.postgres import PostgresServer, postgres_server

settings.register_profile("quick", max_examples=150, deadline=None)
settings.register_profile("soak", max_examples=20_000, deadline=None)
settings.load_profile("quick")


@pytest.fixture
def anyio_backend() -> str:
    """The runtime runs on asyncio alone."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _logging_as_before() -> Generator[None]:
    """Commands that are called in the tests' own process set up logging for it; that must not outlast a test."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers
    logging.captureWarnings(False)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The server in which every test on PostgreSQL gets a database of its own."""
    with postgres_server("fsync=off") as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each dialect in which nothing is kept yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'runs.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_database(template=None if request.node.path.stem == "test_schema" else server.template)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On PostgreSQL, leaves out what concerns only SQLite."""
    left_out = [item for item in items if _dialect(item) == "postgres" and _only_sqlite(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def _dialect(item: pytest.Item) -> object:
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.params.get("url")


def _only_sqlite(item: pytest.Item) -> bool:
    name = getattr(item, "originalname", item.name)
    return item.path.stem in SQLITE_ONLY or f"{item.path.stem}::{name}" in SQLITE_ONLY
