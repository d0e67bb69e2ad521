"""Shared by all tests."""

from __future__ import annotations

import pytest
from hypothesis import settings

settings.register_profile("quick", max_examples=150, deadline=None)
settings.register_profile("soak", max_examples=20_000, deadline=None)
settings.load_profile("quick")


@pytest.fixture
def anyio_backend() -> str:
    """The runtime runs on asyncio alone."""
    return "asyncio"
