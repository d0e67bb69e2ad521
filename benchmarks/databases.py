"""Databases to measure on: a folder of SQLite files, or a PostgreSQL server that is there as long, with its own defaults."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import count

from tests.postgres import postgres_server


@contextmanager
def sqlite_urls() -> Generator[Iterator[str]]:
    """Fresh databases."""
    with tempfile.TemporaryDirectory(prefix="mcp-workflows-bench-") as folder:
        yield (f"sqlite:///{folder}/runs{number}.db" for number in count())


@contextmanager
def postgres_urls() -> Generator[Iterator[str]]:
    """Fresh databases of a server that is there as long."""
    with postgres_server() as server:
        yield (server.new_database() for _ in count())


DATABASES = {"sqlite": sqlite_urls, "postgres": postgres_urls}
