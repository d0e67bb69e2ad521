"""Databases that write down what servers do, with the order of the commits."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.postgres import PostgresServer, postgres_server


@pytest.fixture(scope="session")
def audited() -> Generator[PostgresServer]:
    with postgres_server("fsync=off", "track_commit_timestamp=on") as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def audited_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'runs.db'}"
    server: PostgresServer = request.getfixturevalue("audited")
    return server.new_database()
