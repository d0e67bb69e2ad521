"""Which JSON may be recorded is the same, whether it is seen on the way or looked for value by value."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_workflows.steps.answer import MAX_DEPTH, AnswerUnreadable, decode

NUMBERS = st.one_of(
    st.integers(-(1 << 66), 1 << 66),
    st.sampled_from([(1 << 63) - 1, 1 << 63, -(1 << 63), -(1 << 63) - 1, 10**18, 10**17, -(10**18)]),
    st.floats(allow_nan=False, allow_infinity=False),
)
TEXTS = st.text(st.characters(exclude_categories=[]) | st.sampled_from("\0\ud800\udfff\\u0"), max_size=6)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
SPACE = st.text(" \t\r\n", max_size=2)


def storable(value: Any, depth: int = 0) -> bool:
    match value:
        case str():
            return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)
        case bool() | None:
            return True
        case int():
            return -(1 << 63) <= value < 1 << 63
        case float():
            return math.isfinite(value)
        case list():
            return depth < MAX_DEPTH and all(storable(item, depth + 1) for item in value)  # pyright: ignore[reportUnknownVariableType]
        case dict():
            pairs: list[tuple[Any, Any]] = list(value.items())  # pyright: ignore[reportUnknownArgumentType]
            return depth < MAX_DEPTH and all(storable(key) and storable(item, depth + 1) for key, item in pairs)
        case _:
            raise AssertionError(value)


@given(VALUES, SPACE, SPACE, st.booleans())
@settings(max_examples=400, deadline=None)
def test_what_may_be_recorded_is_read_and_nothing_else(value: Any, before: str, after: str, escaped: bool) -> None:
    text = before + json.dumps(value, ensure_ascii=escaped) + after
    raw = text.encode("utf-8", "surrogatepass")
    if storable(value):
        assert decode(raw, "application/json", "auto") == value
        assert decode(raw, "application/json", "auto") == json.loads(raw)
    else:
        with pytest.raises(AnswerUnreadable):
            decode(raw, "application/json", "auto")


@pytest.mark.parametrize("text", ['{"a": 1} x', "[1][2]", "{} {}", "[1,]", '{"a":1', " [", "]", "\ufeff", "nul", "1 2"])
def test_what_goes_on_after_a_value_is_no_json(text: str) -> None:
    with pytest.raises(AnswerUnreadable):
        decode(text.encode(), "application/json", "auto")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[1e2]", [100.0]),
        ("[1E400]", None),
        ("[-1e999]", None),
        ("[0.1]", [0.1]),
        (" {}\n", {}),
        ("[]\n\n", []),
        ("7\n", 7),
    ],
)
def test_numbers_and_space_are_what_json_says(text: str, value: Any) -> None:
    if value is None:
        with pytest.raises(AnswerUnreadable, match="beyond what a double can hold"):
            decode(text.encode(), "application/json", "auto")
    else:
        assert decode(text.encode(), "application/json", "auto") == value


def test_of_a_key_that_stands_twice_the_last_one_counts() -> None:
    assert decode(b'{"a": 1, "b": {"c": 1, "c": 2}, "a": 3}', "application/json", "auto") == {"a": 3, "b": {"c": 2}}
