"""What arguments must hold to, and how a caller is told."""

from __future__ import annotations

from typing import Any

import pytest

from mcp_workflows.definition.input_schema import check_json, validate_input
from mcp_workflows.definition.program import Definition
from mcp_workflows.errors import InputRefused
from tests.definition.loading import load

ORDER = """
input:
  required: [order_id, amount]
  properties:
    order_id: {type: string, minLength: 2, pattern: "^o"}
    amount: {type: number, exclusiveMinimum: 0, maximum: 100}
    email: {type: string, format: email}
    day: {type: string, format: date}
    plan: {type: string, enum: [free, pro], default: pro}
    count: {type: integer, minimum: 1}
    tags: {type: array, items: {type: string}, maxItems: 2}
    address:
      type: object
      required: [city]
      additionalProperties: false
      properties:
        city: {type: string}
        country: {type: string, default: DE}
    lines:
      type: array
      items: {$ref: "#/$defs/line"}
    either: {anyOf: [{type: string}, {type: integer}]}
  $defs:
    line: {type: object, properties: {sku: {type: string}, pieces: {type: integer, default: 1}}}
steps:
  - set: {a: 1}
"""


@pytest.fixture(scope="module")
def order() -> Definition:
    return load(ORDER)


def refusal(definition: Definition, arguments: object) -> str:
    with pytest.raises(InputRefused) as caught:
        validate_input(definition, arguments)
    return str(caught.value)


def test_the_published_schema_is_a_closed_object(order: Definition) -> None:
    assert order.input_schema["type"] == "object"
    assert order.input_schema["additionalProperties"] is False
    assert load("steps: [{set: {a: 1}}]").input_schema == {
        "type": "object",
        "properties": {},
        "additionalProperties": False,
    }


def test_defaults_are_filled_in_at_every_level(order: Definition) -> None:
    arguments = {"order_id": "o1", "amount": 12, "address": {"city": "Bonn"}, "lines": [{"sku": "a"}, {"pieces": 3}]}
    assert validate_input(order, arguments) == {
        "order_id": "o1",
        "amount": 12,
        "plan": "pro",
        "address": {"city": "Bonn", "country": "DE"},
        "lines": [{"sku": "a", "pieces": 1}, {"pieces": 3}],
    }
    assert "plan" not in arguments, "the caller's own arguments stay as they are"


def test_no_arguments_are_empty_arguments() -> None:
    assert validate_input(load("steps: [{set: {a: 1}}]"), None) == {}


GOOD: dict[str, Any] = {"order_id": "o1", "amount": 12}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"order_id": "o1", "amount": "12"}, 'amount: "12" is a string, expected number.'),
        ({"order_id": "o1"}, "amount: is missing."),
        ({}, "order_id: is missing. amount: is missing."),
        ({**GOOD, "emial": "x"}, 'emial: is not known. Did you mean "email"?'),
        ({**GOOD, "plan": "gold"}, 'plan: "gold" is not one of free, pro.'),
        ({**GOOD, "email": "x"}, 'email: "x" is no email.'),
        ({**GOOD, "day": "22.11.2026"}, 'day: "22.11.2026" is no date.'),
        ({**GOOD, "amount": 0}, "amount: 0 is too small, expected more than 0."),
        ({**GOOD, "amount": 101}, "amount: 101 is too large, expected at most 100."),
        (
            {**GOOD, "order_id": "x"},
            'order_id: "x" is too short, expected at least 2. order_id: "x" does not match ^o.',
        ),
        ({**GOOD, "count": 1.5}, "count: 1.5 is a number, expected integer."),
        ({**GOOD, "count": True}, "count: true is a boolean, expected integer."),
        ({**GOOD, "count": None}, "count: is null, expected integer."),
        ({**GOOD, "tags": ["a", 2]}, "tags[1]: 2 is an integer, expected string."),
        ({**GOOD, "tags": ["a", "b", "c"]}, "tags: […] is too long, expected at most 2."),
        ({**GOOD, "address": {"street": "x"}}, "address.city: is missing. address.street: is not known."),
        ({**GOOD, "lines": [{"pieces": "x"}]}, 'lines[0].pieces: "x" is a string, expected integer.'),
        (
            {**GOOD, "either": []},
            "either: [] fits none of the alternatives: [] is an array, expected string; [] is an array, expected integer.",
        ),
        ([], "[] is not an object of arguments."),
        ("x" * 100, f'"{"x" * 57}…" is not an object of arguments.'),
    ],
)
def test_every_violation_is_named_with_its_path(order: Definition, arguments: object, expected: str) -> None:
    assert refusal(order, arguments) == expected


def test_many_violations_are_cut(order: Definition) -> None:
    text = refusal(order, {**GOOD, "tags": list(range(500))})
    assert text.endswith("There is more.")
    assert len(text) < 700


def test_a_long_value_is_shown_cut(order: Definition) -> None:
    text = refusal(order, {**GOOD, "plan": "x" * 5000})
    assert len(text) < 120


def test_a_schema_that_refers_to_itself_takes_deep_values() -> None:
    tree = load(
        """
        input:
          properties:
            tree: {$ref: "#/$defs/node"}
          $defs:
            node:
              type: object
              properties:
                children: {type: array, items: {$ref: "#/$defs/node"}}
        steps: [{set: {a: 1}}]
        """
    )
    value: dict[str, Any] = {"children": []}
    for _ in range(20):
        value = {"children": [value]}
    assert validate_input(tree, {"tree": value}) == {"tree": value}


def test_a_schema_that_refers_to_nothing_but_itself_is_an_answer_and_no_crash() -> None:
    endless = load(
        """
        input:
          properties:
            a: {$ref: "#/$defs/a"}
          $defs:
            a: {$ref: "#/$defs/b"}
            b: {$ref: "#/$defs/a"}
        steps: [{set: {a: 1}}]
        """
    )
    assert refusal(endless, {"a": 1}) == "The input schema of a refers to itself without end."


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": deep(64)}, "The input is nested deeper than 64 levels."),
        ({"a": deep(100_000)}, "The input is nested deeper than 64 levels."),
        ({"a": "x" * (1 << 20)}, "The input is 1,048,584 bytes long, at most 1,048,576 are taken."),
        ({"a": [1, {"b": 1 << 63}]}, "a[1].b: the integer does not fit 64 bits; send it as a string."),
        ({"a": float("nan")}, "a: nan is not a number that JSON can hold."),
        ({"a": float("-inf")}, "a: -inf is not a number that JSON can hold."),
        ({1: "a"}, "input: the key 1 is not a string."),
        ({"a": b"x"}, "a: bytes is not JSON."),
        ({"a": ["x", "b\0"]}, "a[1]: holds the character NUL, which is not taken anywhere."),
        ({"a": {"b\0": 1}}, "a: holds the character NUL, which is not taken anywhere."),
        ({"\0": 1}, "input: holds the character NUL, which is not taken anywhere."),
        ({"a": "\ud800"}, "a: holds half of a surrogate pair, which is not taken anywhere."),
    ],
)
def test_what_no_store_can_hold_is_refused(value: Any, expected: str) -> None:
    with pytest.raises(InputRefused) as caught:
        check_json(value)
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    "value", [{"a": deep(63)}, {"a": -(1 << 63)}, {"a": "\u0001 é\U0001f600"}, {}, [1.5, None, True]]
)
def test_all_other_json_is_taken(value: Any) -> None:
    check_json(value)
