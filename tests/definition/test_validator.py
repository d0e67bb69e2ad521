"""Nobody who sends a value can make a schema take long: not by what its pattern, format or references do with it."""

from __future__ import annotations

import json
import time

import pytest

from mcp_workflows.definition.input_schema import MAX_INPUT_BYTES, MAX_INPUT_DEPTH, check_json
from mcp_workflows.definition.program import Json
from mcp_workflows.definition.violations import violations
from tests.definition.loading import load, refusals

_SECONDS = 10.0
"""Of the processor: each of these took minutes, hours or for ever."""


def _tree(depth: int, leaf: str = "none") -> Json:
    value: Json = {"op": leaf}
    for _ in range(depth):
        value = {"op": "add", "left": value, "right": {"op": "mul"}}
    return value


def _operation(name: str) -> Json:
    inner = {"$ref": "#/$defs/tree"}
    return {"properties": {"op": {"const": name}, "left": inner, "right": inner}}


_OPERATIONS: dict[str, Json] = {
    "$ref": "#/$defs/tree",
    "$defs": {"tree": {"anyOf": [_operation("add"), _operation("sub")]}},
}

HOSTILE: dict[str, tuple[dict[str, Json], Json]] = {
    "a pattern that backtracks": ({"pattern": "^(a+)+$"}, "a" * 60_000 + "!"),
    "alternatives that overlap": ({"pattern": "^(a|a)*$"}, "a" * 60_000 + "!"),
    "many pieces": ({"pattern": "^.*.*.*.*.*x$"}, "a" * 60_000),
    "names by a pattern": ({"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}, {"a" * 60_000 + "!": 1}),
    "a template of braces": ({"format": "uri-template"}, "{a" * 400_000),
    "a duration of digits": ({"format": "duration"}, "PT" + "1" * 1_000_000 + "H"),
    "a format of patterns": ({"format": "regex"}, "(a*)*" * 200_000),
    "brackets": ({"format": "regex"}, "(" * 900_000),
    "an address of dots": ({"format": "uri"}, "http://" + "a." * 400_000 + "\n"),
    "unique objects": ({"uniqueItems": True}, [{"a": number} for number in range(60_000)]),
    "references that double": (_OPERATIONS, _tree(28)),
    "references that double on something large": (_OPERATIONS, _tree(20, "n" * 900_000)),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_no_value_makes_a_schema_take_long(what: str) -> None:
    schema, value = HOSTILE[what]
    if "references" not in what:
        check_json(value, max_bytes=MAX_INPUT_BYTES, max_depth=MAX_INPUT_DEPTH)
    began = time.process_time()
    wrong = violations(schema, value)
    assert time.process_time() - began < _SECONDS
    if "references" in what:
        assert wrong == ["This is too intricate: the schema's references lead through it again and again."]
    else:
        assert (wrong == []) == (what == "unique objects"), wrong


RE2 = "(RE2's syntax: no look-around, no back-references; characters by themselves or as \\x{e9})"

FITTING: list[tuple[dict[str, Json], Json, bool]] = [
    ({"pattern": "^[a-z]+-[0-9]{4}$"}, "ab-1234", True),
    ({"pattern": "^a$"}, "a\n", False),
    ({"pattern": "b"}, "abc", True),
    ({"pattern": r"^\p{L}+$"}, "Žluťoučký", True),
    ({"pattern": r"^\d$"}, "٣", False),
    ({"pattern": "a"}, "\ud800", False),
    ({"pattern": "a"}, 5, True),
    ({"patternProperties": {"^x-": {"type": "integer"}}}, {"x-a": 1, "y": "b"}, True),
    ({"patternProperties": {"^x-": {"type": "integer"}}}, {"x-a": "b"}, False),
    ({"patternProperties": {"^x-": {}}, "additionalProperties": False}, {"x-a": 1}, True),
    ({"patternProperties": {"^x-": {}}, "additionalProperties": False}, {"y": 1}, False),
    ({"patternProperties": {"^x-": {}}, "additionalProperties": {"type": "string"}}, {"y": 1}, False),
    ({"patternProperties": {"^x-": {}}, "additionalProperties": {"type": "string"}}, {"y": "1", "x-": 2}, True),
    ({"uniqueItems": True}, [1, 1.0], False),
    ({"uniqueItems": True}, [1, True, "1", [1], [True], {"a": 1}, {"a": [1]}], True),
    ({"uniqueItems": True}, [{"a": 1, "b": [2]}, {"b": [2.0], "a": 1}], False),
    ({"uniqueItems": False}, [1, 1], True),
    ({"format": "regex"}, "^a{3}$", True),
    ({"format": "regex"}, "(", False),
    ({"format": "uri-template"}, "/accounts{/id}{?page}", True),
    ({"format": "email"}, "not one", False),
]


@pytest.mark.parametrize(("schema", "value", "fits"), FITTING, ids=lambda part: json.dumps(part)[:60])
def test_what_fits_still_fits(schema: dict[str, Json], value: Json, fits: bool) -> None:
    assert (violations(schema, value) == []) is fits


def test_a_list_of_references_is_not_too_intricate() -> None:
    schema: dict[str, Json] = {"items": {"$ref": "#/$defs/one"}, "$defs": {"one": {"type": "integer"}}}
    assert violations(schema, list(range(20_000))) == []


def test_what_cannot_be_matched_in_linear_time_is_refused_with_place_and_remedy() -> None:
    assert refusals(
        """
        input:
          properties:
            a: {type: string, pattern: "^(?=.*x)a"}
            b: {type: string, pattern: '(a)\\1'}
            c: {type: string, pattern: "a{2000}"}
            d: {type: object, patternProperties: {"(?!a)": {type: string}}}
            e: {type: object, unevaluatedProperties: {type: string, pattern: "a++"}}
            f: {$dynamicRef: "#nowhere"}
            g: {$ref: "#/properties/a/const"}
        steps:
          - set: {a: 1}
        """
    ) == [
        f"5:32 input: this pattern is not taken: invalid perl operator: (?= {RE2}",
        f"6:32 input: this pattern is not taken: invalid escape sequence: \\1 {RE2}",
        "7:32 input: this pattern is not taken: invalid repetition size: {2000} (at most 1000; for lengths there is maxLength)",
        f"8:43 input: this pattern is not taken: invalid perl operator: (?! {RE2}",
        "9:23 input: unevaluatedProperties and patternProperties are not taken together; use additionalProperties",
        "9:70 input: this pattern is not taken: bad repetition operator: ++",
        (
            "10:9 input: $dynamicRef is not taken here: only what stands in this schema can be referred to, "
            "as $ref: '#/$defs/name'"
        ),
        (
            '11:15 input: $ref "#/properties/a/const" leads nowhere: only what stands in this schema can be referred '
            "to, as #/$defs/name"
        ),
    ]


def test_patterns_that_anybody_writes_are_taken() -> None:
    load(
        r"""
        input:
          properties:
            a: {type: string, pattern: '^[A-Z]{2}\d{2}[A-Z0-9]{1,30}$'}
            b: {type: string, pattern: '^[^@\s]+@[^@\s]+\.[a-z]{2,}$'}
            c: {type: string, pattern: '^(?:\+49|0)[1-9][\d /-]{4,20}$'}
            d: {type: string, pattern: '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'}
            e: {type: string, pattern: '(?i)^re: '}
        steps:
          - set: {a: 1}
        """
    )
