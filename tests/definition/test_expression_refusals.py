"""What is refused when a definition is loaded, in which words and at which character."""

from __future__ import annotations

import pytest

from mcp_workflows.definition.expressions import ExpressionInvalid, Variables, compile_condition, compile_expression
from tests.definition.expressing import ALL, refusal

NO_CONDITION = "when must be an expression that gives true or false, found the text "


@pytest.mark.parametrize(
    ("source", "offset", "message"),
    [
        ("input.a and input.b", 8, 'syntax: "and" is not CEL; use &&'),
        ("input.a or input.b", 8, 'syntax: "or" is not CEL; use ||'),
        ("not input.a", 0, 'syntax: "not" is not CEL; use !'),
        ("input.a is null", 8, 'syntax: "is" is not CEL; use =='),
        ("input.a = 1", 8, 'syntax: "=" is not CEL; use =='),
        ("input.a === 1", 8, 'syntax: "===" is not CEL; use =='),
        ("input.a == ", 11, "syntax: the expression is not complete"),
        ("(input.a", 8, "syntax: the expression is not complete"),
        ("input.a b", 8, 'syntax: "b" cannot stand here'),
        ('"abc', 0, "syntax: a quote is not closed, or an escape in it is none that CEL knows"),
        ("input.in", 6, 'syntax: "in" is a word of CEL; as a key write ["in"]'),
        ("for + 1", 0, '"for" is a reserved word of CEL'),
        ("", 0, "the expression is empty"),
        ("inptu.a", 0, 'unknown name "inptu". Did you mean "input"?'),
        ('"é💥" + inptu.a', 7, 'unknown name "inptu". Did you mean "input"?'),
        ("input.a\n + xyz", 11, 'unknown name "xyz"'),
        ("run.nw", 0, 'unknown name "run.nw". Run has id, name, now, started_at, version'),
        ("True", 0, 'unknown name "True"; write true'),
        ("foo(1)", 0, 'unknown function "foo"'),
        ("math.foo(1)", 0, 'unknown function "math.foo"'),
        ("get(input)", 0, "get() does not take these arguments"),
        ("size(1)", 4, "size() does not take (int)"),
        ('"a" + 1', 4, '"+" does not take string and int: make the other a text with string(…)'),
        ('input.a == 1 && "a"', 13, 'found string, expected bool, at "&&"'),
        ('"a" ? 1 : 2', 4, 'found string, expected bool, before "?"'),
        ("input.a ? 1 : null", 8, "the two sides of ? : differ (int, null). Wrap one in dyn(…)"),
        ('{"a": 1}.transformMap(k, v, v)', 21, "transformMap is not available; use [[k, v]].to_map()"),
        ('{"a": 1}.transformMapEntry(k, v, {v: k})', 26, "transformMap is not available; use [[k, v]].to_map()"),
        ("steps", 0, "name one step: steps.<id>.output"),
        ("1 + steps[input.x].output", 4, "name one step: steps.<id>.output"),
        ("input.x.map(input, 1)", 11, '"input" already means something; give the variable another name'),
        ("[input.?a]", 0, 'the value may hold an optional: write {?"key": …} or [?…], or end it with .orValue(…)'),
        ('{"a": input.?a}', 0, 'the value may hold an optional: write {?"key": …} or [?…], or end it with .orValue(…)'),
        ('get(input.?a, "b")', 9, "an optional cannot stand here: end it with .orValue(…)"),
        ('to_json({"a": input[?0]})', 8, "an optional cannot stand here: end it with .orValue(…)"),
        ("input.?a.sum()", 12, "this takes no optional: end it with .orValue(…)"),
        (
            "+".join(["input.a"] * 60),
            0,
            "the expression is nested too deeply; the limit is 32 levels (so is a chain of 32 operators)",
        ),
        ("a" * 100_001, 0, "the expression is longer than 100,000 characters"),
        ('"\ud800"', 0, "the expression is no valid Unicode"),
    ],
)
def test_an_expression_is_refused(source: str, offset: int, message: str) -> None:
    assert refusal(source) == (offset, message)


def test_a_name_that_is_not_there_is_refused_in_words() -> None:
    with pytest.raises(ExpressionInvalid) as refused:
        compile_expression("1 + result.status", Variables.of("input", "run"), start=7)
    assert (refused.value.offset, refused.value.message) == (11, 'unknown name "result". Here there are input, run')


@pytest.mark.parametrize(
    ("text", "offset", "message"),
    [
        (
            'input.plan == "x"',
            0,
            f'{NO_CONDITION}"input.plan == "x"". Write ${{input.plan == "x"}}',
        ),
        (
            "${input.a} == 1",
            0,
            f'{NO_CONDITION}"${{input.a}} == 1". Write one ${{…}} around all of it',
        ),
        ('${"a" + input.b}', 2, 'found string, expected bool, in "when"'),
        ("${ size(input.b) }", 3, 'found int, expected bool, in "when"'),
        ("${null}", 2, 'found null, expected bool, in "when"'),
        ("${[input.a]}", 2, 'found list, expected bool, in "when"'),
        ("${run.now}", 2, 'found timestamp, expected bool, in "when"'),
        ("${input.?a}", 2, 'found an optional, expected bool, in "when": end it with .orValue(false)'),
        ("${input.a and input.b}", 10, 'syntax: "and" is not CEL; use &&'),
    ],
)
def test_a_condition_is_refused(text: str, offset: int, message: str) -> None:
    with pytest.raises(ExpressionInvalid) as refused:
        compile_condition(text, ALL)
    assert (refused.value.offset, refused.value.message) == (offset, message)


def test_a_condition_may_stand_in_white_space() -> None:
    condition = compile_condition("\n  ${ input.a == 1 }\n", ALL)
    assert condition.evaluate_bool({"input": {"a": 1.0}}) is True
    assert (condition.start, condition.result_type) == (6, "bool")
