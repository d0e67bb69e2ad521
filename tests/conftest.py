"""Shared by all tests."""

from __future__ import annotations

import logging
from collections.abc import Generator

import pytest
from hypothesis import settings

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
