"""How often one actor may call."""

from __future__ import annotations

import pytest

from mcp_workflows.access.rate import Rate


def test_a_minute_s_calls_may_come_at_once_and_then_no_more() -> None:
    rate = Rate(60)
    assert [rate.wait("anna", 100.0) for _ in range(60)] == [0] * 60
    assert rate.wait("anna", 100.0) == pytest.approx(1.0)
    assert rate.wait("anna", 100.5) == pytest.approx(0.5)
    assert rate.wait("anna", 101.0) == 0
    assert rate.wait("anna", 101.0) > 0


def test_one_actor_does_not_use_up_what_another_may_ask() -> None:
    rate = Rate(1)
    assert rate.wait("anna", 0.0) == 0
    assert rate.wait("anna", 0.0) > 0
    assert rate.wait("robot", 0.0) == 0


def test_a_call_that_is_refused_does_not_put_off_the_next() -> None:
    rate = Rate(60)
    for _ in range(60):
        rate.wait("anna", 0.0)
    for tenth in range(9):
        assert rate.wait("anna", tenth / 10) > 0
    assert rate.wait("anna", 1.0) == 0


def test_memory_does_not_grow_with_the_number_of_actors() -> None:
    rate = Rate(60)
    for number in range(25_000):
        rate.wait(f"actor {number}", number / 100)
    assert len(rate._buckets) <= 10_000  # pyright: ignore[reportPrivateUsage]
