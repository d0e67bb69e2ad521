"""Spans of time and instants as people read them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mcp_workflows.cli.spans import clock_time, due
from tests.store.material import NOW


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(40.0, "in 40.0 s"), (0.0, "in 0 ms"), (-0.5, "in 0 ms"), (-1.0, "1.0 s overdue"), (-125.0, "2 min 5 s overdue")],
)
def test_what_should_have_happened_by_now_is_overdue(seconds: float, said: str) -> None:
    when = NOW + timedelta(seconds=seconds)
    assert due(when, NOW) == f"{clock_time(when)} ({said})"
