"""Shared by all tests."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings

from tests.dialects import NOT_ON_OLDER, ON_OLDER_TOO, SQLITE_ONLY
from tests.postgres import Databases, databases, older_programs, postgres_server

settings.register_profile("quick", max_examples=150, deadline=None)
settings.register_profile("soak", max_examples=20_000, deadline=None)
settings.load_profile("quick")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell without job control has what it starts with & ignore Ctrl-C, and so would every process that a test interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
def postgres() -> Iterator[Databases]:
    """The server in which every test on PostgreSQL gets a database of its own."""
    with databases() as server:
        yield server


@pytest.fixture(scope="session")
def postgres15() -> Iterator[Databases]:
    """The oldest server that tests run on, where it is installed."""
    with postgres_server("fsync=off", bin_folder=older_programs()) as server:
        yield server


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with the fixture ``url`` runs on each kind of database; where it pays, on an older server too."""
    own = {name.strip() for mark in metafunc.definition.iter_markers("parametrize") for name in _names(mark.args[0])}
    if "url" in metafunc.fixturenames and "url" not in own:
        path = metafunc.definition.path
        older = path.stem in ON_OLDER_TOO or (path.parent.name == "store" and path.stem not in NOT_ON_OLDER)
        metafunc.parametrize("url", ["sqlite", "postgres", *(["postgres15"] if older else [])], indirect=True)


def _names(argument: str | Sequence[str]) -> Sequence[str]:
    """Of the parameters that a test gives itself; what it calls ``url`` then is no database."""
    return argument.split(",") if isinstance(argument, str) else argument


@pytest.fixture
def another_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Makes one more empty database of the kind that ``url`` is of."""
    kind = request.node.callspec.params["url"]
    if kind == "sqlite":
        numbers = count(1)
        return lambda: f"sqlite:///{tmp_path / f'another{next(numbers)}.db'}"
    server: Databases = request.getfixturevalue(kind)
    return server.new_database


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each dialect in which nothing is kept yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'runs.db'}"
    server: Databases = request.getfixturevalue(request.param)
    return server.new_database(template=None if request.node.path.stem == "test_schema" else server.template)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On PostgreSQL, leaves out what concerns only SQLite."""
    left_out = [item for item in items if _on_postgres(item) and _only_sqlite(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def _on_postgres(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    return callspec is not None and callspec.params.get("url", "sqlite") != "sqlite"


def _only_sqlite(item: pytest.Item) -> bool:
    name = getattr(item, "originalname", item.name)
    return item.path.stem in SQLITE_ONLY or f"{item.path.stem}::{name}" in SQLITE_ONLY
