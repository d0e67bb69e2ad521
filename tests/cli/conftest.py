"""What tests of the command line share."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.cli.place import TRIAL, Place, environment, samples


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A folder of one's own, no settings, and no sample services."""
    for name in os.environ:
        if name.startswith("MCP_WORKFLOWS_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "140")
    return Place(tmp_path)


@pytest.fixture
def trial(place: Place, monkeypatch: pytest.MonkeyPatch) -> Generator[Place]:
    """A folder with the workflow ``start_trial``, and the sample services that it calls."""
    with samples() as urls:
        for name, value in environment(urls).items():
            monkeypatch.setenv(name, value)
        place.define("start_trial", TRIAL)
        yield Place(place.folder, urls)
