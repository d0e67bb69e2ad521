"""Every test here runs on each kind of database: settings find it in the environment."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def database(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_WORKFLOWS_DATABASE_URL", url)
