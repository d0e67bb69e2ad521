"""Texts with ``${…}`` and the shapes they stand in."""

from __future__ import annotations

import pytest

from mcp_workflows.definition.expressions import ABSENT, ExpressionFailed, ExpressionInvalid, Template
from tests.definition.expressing import template

VALUES = {"input": {"n": 3, "d": 1.0, "yes": True, "name": "Ada", "list": [1, "x"], "null": None, "ü": "ß", "a-b": 5}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${input.n}", 3),
        ("  ${ input.list }\n", [1, "x"]),
        ("${input.yes}\n", True),
        ("${input.n}${input.n}", "33"),
        ("Hello ${input.name}!", "Hello Ada!"),
        ("${input.n} and ${input.d}, ${input.yes}, ${input.list}", '3 and 1.0, true, [1,"x"]'),
        ("line\n${input.name}\n", "line\nAda\n"),
        ("$${input.n}", "${input.n}"),
        ("costs $${input.n} or ${input.n}$", "costs ${input.n} or 3$"),
        ("$5 {x} }", "$5 {x} }"),
        ('${ {"a": {"b": input.n}}.a.b }', 3),
        ('${"}" + input.name}', "}Ada"),
        ("${'}' + input.name}", "}Ada"),
        ('${"\\"}" + input.name}', '"}Ada'),
        ('${r"\\}" + input.name}', "\\}Ada"),
        ('${"""}"}""" + input.name}', '}"}Ada'),
        ("${input.name // a } in a comment\n}", "Ada"),
        ('a${"${"}b', "a${b"),
        ('${input["ü"]}', "ß"),
        ("${input.`a-b`}", 5),
        ("", ""),
    ],
)
def test_a_text_gives(text: str, value: object) -> None:
    found = template(text).render(VALUES)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "offset"),
    [("a ${input.n", 2), ("${ {input.n }", 0), ("ok ${input.n} then ${", 19), ("${input.n // }", 0)],
)
def test_an_inset_that_is_not_closed_is_refused_where_it_begins(text: str, offset: int) -> None:
    with pytest.raises(ExpressionInvalid, match=r'"\$\{" is not closed') as refused:
        template(text)
    assert refused.value.offset == offset


def test_a_refusal_counts_in_the_whole_text() -> None:
    with pytest.raises(ExpressionInvalid) as refused:
        template("Grüße 💥 ${input.n} ${ inptu.n}")
    assert (refused.value.offset, refused.value.start) == (22, 22)


def test_null_and_nothing_are_no_piece_of_a_text() -> None:
    with pytest.raises(ExpressionFailed, match="null cannot be a piece of a text"):
        template('a${input["null"]}').render(VALUES)
    with pytest.raises(ExpressionFailed, match="there is no value"):
        template("a${input.?zip}").render(VALUES)


def test_keys_and_elements_without_value_are_left_out() -> None:
    shape = Template.of(
        {
            "name": template("${input.name}"),
            "zip": template("${input.?zip}"),
            "deep": {"zip": template("${input.?zip}"), "null": template('${input["null"]}')},
            "list": [1, template("${input.?zip}"), template("${input.?n}")],
        }
    )
    assert shape.render(VALUES) == {"name": "Ada", "deep": {"null": None}, "list": [1, 3]}
    assert shape.names == {"input"}
    assert len(shape.expressions) == 6


def test_without_value_at_the_top_is_a_failure() -> None:
    with pytest.raises(ExpressionFailed, match="there is no value"):
        template("${input.?zip}").render(VALUES)
    assert template("${input.?zip}").render_optional(VALUES) is ABSENT


def test_literal_shapes_are_new_each_time() -> None:
    shape = Template.of({"a": [1, {"b": None}]})
    assert shape.is_literal
    first = shape.render({})
    first["a"].append(2)
    assert shape.render({}) == {"a": [1, {"b": None}]}


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://crm/a/${input.id}", "http://crm/a/x%2Fy%20%3Fz%23%C3%BC"),
        ("http://crm/a?q=${input.id}", "http://crm/a?q=x%2Fy%20%3Fz%23%C3%BC"),
        ("${vars.BASE}/a/${input.n}", "http://h:1/v1/a/7"),
        ("${vars.BASE}", "http://h:1/v1"),
        ("https://${vars.HOST}/a/${input.n}/b", "https://api.example.com/a/7/b"),
        ("http://crm/a${input.empty}?q=${input.empty}", "http://crm/a?q="),
        ("http://crm/${input.empty}${input.n}", "http://crm/7"),
        ("http://crm/a", "http://crm/a"),
    ],
)
def test_pieces_of_a_url_are_encoded_after_its_host(text: str, url: str) -> None:
    values = {
        "input": {"id": "x/y ?z#ü", "n": 7, "empty": ""},
        "vars": {"BASE": "http://h:1/v1", "HOST": "api.example.com"},
    }
    assert template(text).render_url(values) == url


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("http://crm/a/${input.empty}", "an empty segment"),
        ("http://crm/${input.empty}/b", "an empty segment"),
        ("http://crm/${input.empty}?q=1", "an empty segment"),
        ("http://${input.evil}/a", "a character that a host cannot have"),
        ("http://api.${input.evil}.com/a", "a character that a host cannot have"),
        ("http://crm/${input.broken}", "broken Unicode"),
        ("http://crm/${input.null}".replace(".null", '["null"]'), "null cannot be a piece of a text"),
    ],
)
def test_a_piece_that_would_make_another_url_is_refused(text: str, message: str) -> None:
    values = {"input": {"empty": "", "evil": "evil.com/x?", "broken": "\ud800", "null": None}}
    with pytest.raises(ExpressionFailed, match=message):
        template(text).render_url(values)
