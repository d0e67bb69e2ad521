"""Durations as authors write them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_workflows.definition.durations import PATTERN, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("90s", 90),
        ("15m", 900),
        ("2h", 7200),
        ("3d", 259200),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("PT90S", 90),
        ("P1DT2H", 93600),
        ("P2W", 1209600),
        ("PT0.5S", 0.5),
        ("0s", 0),
    ],
)
def test_a_duration_is_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)
    assert re.search(PATTERN, text)


@pytest.mark.parametrize(
    "value", ["90", 90, 1.5, "", "P", "PT", "P1DT", "1x", "h", "1s1s", "-5s", "1 h", "P1Y", True, None, [], "1e9d"]
)
def test_what_has_no_unit_or_two_meanings_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"needs a unit|no duration|expected a duration"):
        parse_duration(value)


def test_a_duration_beyond_every_calendar_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than 100 years"):
        parse_duration("99999999d")


@given(st.integers(0, 300), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_both_notations_agree(days: int, hours: int, minutes: int, seconds: int) -> None:
    short = f"{days}d{hours}h{minutes}m{seconds}s"
    assert parse_duration(short) == parse_duration(f"P{days}DT{hours}H{minutes}M{seconds}S")
