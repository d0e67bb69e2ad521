"""JSON as it is sent and recorded: what the library writes, and nothing that is no JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_workflows.definition.json_text import to_ascii, to_unicode

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda part: st.lists(part) | st.dictionaries(st.text(), part), max_leaves=20)


@given(VALUES)
def test_a_value_is_written_as_the_library_writes_it(value: Any) -> None:
    assert to_ascii(value) == json.dumps(value, allow_nan=False, separators=(",", ":"))
    assert to_unicode(value) == json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


@given(VALUES)
def test_what_is_recorded_is_ascii_and_reads_back_the_same(value: Any) -> None:
    text = to_ascii(value)
    assert text.isascii()
    assert json.loads(text) == value


NO_JSON: list[Any] = [
    float("nan"),
    [float("inf")],
    {"a": -float("inf")},
    {1, 2},
    b"x",
    datetime(2026, 1, 1, tzinfo=UTC),
]


@pytest.mark.parametrize("write", [to_ascii, to_unicode])
@pytest.mark.parametrize("value", NO_JSON)
def test_what_is_no_json_is_refused(write: Any, value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        write({"deep": [value]})


@pytest.mark.parametrize("write", [to_ascii, to_unicode])
def test_a_value_that_holds_itself_ends_as_nested_too_deeply(write: Any) -> None:
    itself: list[Any] = []
    itself.append({"itself": itself})
    with pytest.raises(RecursionError):
        write(itself)
    assert write([1]) == "[1]", "and nothing of it is left behind"
