"""Shared by all tests."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """The runtime runs on asyncio alone."""
    return "asyncio"
