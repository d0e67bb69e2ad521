from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from tests.misuse.definitions import DEFINITIONS
from tests.misuse.place import Server, serving
from tests.services.scripted import Scripted, scripted


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    """One process for all tests of a module."""
    with serving(tmp_path_factory.mktemp("server"), DEFINITIONS) as server:
        yield server


@pytest.fixture
async def server(started: Server) -> AsyncGenerator[Server]:
    """After each test the server must serve as before, and have met no defect of its own."""
    yield started
    assert (await started.run("alive"))["result"] == {"alive": True}
    assert "internal" not in started.log
    assert "failed unexpectedly" not in started.log


@pytest.fixture
async def service() -> AsyncGenerator[Scripted]:
    async with scripted() as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path
