"""What a run computes is measured before it is recorded."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_workflows.definition.expressions import ExpressionFailed
from mcp_workflows.engine.bounds import DEPTH, Room, TooLarge, bounded, left_after

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text("abc"),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc"), inner),
)


@given(VALUES)
def test_a_value_is_measured_as_about_what_its_json_takes(value: Any) -> None:
    measured = 1_000_000 - left_after(value, 1_000_000)
    exact = len(json.dumps(value, separators=(",", ":")))
    assert exact <= measured <= 6 * exact


def test_a_value_that_holds_itself_over_and_over_is_not_looked_at_to_the_end() -> None:
    value: Any = "x"
    for _ in range(100):
        value = [value, value]
    began = time.monotonic()
    with pytest.raises(TooLarge, match=r"set gives more than 1,048,576 bytes of JSON"):
        bounded(value, 1 << 20, "set gives")
    assert time.monotonic() - began < 5


def test_a_value_has_so_many_levels_and_no_more() -> None:
    value: Any = 1
    for _ in range(DEPTH):
        value = [value]
    assert bounded(value, 10_000, "it gives") is value
    with pytest.raises(ExpressionFailed, match="nested deeper than 128 levels"):
        bounded({"one more": value}, 10_000, "it gives")


def test_room_is_shared_and_what_was_there_before_counts() -> None:
    room = Room("collect has gathered", 100)
    room.note("x" * 60)
    room.take("x" * 30)
    with pytest.raises(TooLarge, match="collect has gathered more than 100 bytes"):
        room.take("x" * 30)


def test_what_was_there_before_is_never_refused() -> None:
    room = Room("collect has gathered", 10)
    room.note("x" * 60)
    with pytest.raises(TooLarge):
        room.take(None)
