"""What expressions give: the language's reference by example."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from mcp_workflows.definition.expressions import ABSENT, ExpressionFailed
from tests.definition.expressing import compiled, evaluate, failure

NOW = datetime(2026, 11, 22, 10, 0, 0, 500_000, tzinfo=UTC)
ORDER: dict[str, Any] = {
    "email": "buyer@example.com",
    "count": 3,
    "price": 2.5,
    "note": None,
    "lines": [{"sku": "b", "sum": 1}, {"sku": "a", "sum": 2.5}, {"sku": "c"}],
    "address": {"city": "Köln", "tags": ["x", "y"]},
    "raw": '{"ids": [1, 2]}',
}


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("input.email", "buyer@example.com"),
        ('input["email"]', "buyer@example.com"),
        ("input.address.tags[1]", "y"),
        ("input.note", None),
        ("input.lines.size()", 3),
        ('input.email.endsWith(".com") && input.count > 2', True),
        ('input.count > 5 ? "many" : "few"', "few"),
        ('{"city": input.address.city, "n": [input.count]}', {"city": "Köln", "n": [3]}),
        ("input.lines.map(l, l.sku)", ["b", "a", "c"]),
        ("input.lines.filter(l, has(l.sum)).map(l, l.sum)", [1, 2.5]),
        ("input.lines.transformList(i, l, i)", [0, 1, 2]),
        ("cel.bind(n, input.count, n * n)", 9),
        ("type(input.count) == int", True),
        ("math.greatest(input.count, 7)", 7),
        ("[3, 1, 2].sort()", [1, 2, 3]),
        ("sets.contains([1, 2.0, 3], [2, 3])", True),
        ('regex.replace("a-b", "-", "+")', "a+b"),
        ('base64.encode(b"abc")', "YWJj"),
        ('"%s: %d".format(["n", input.count])', "n: 3"),
        ("[[1], [2, 3]].flatten()", [1, 2, 3]),
        ('"a,b".split(",")', ["a", "b"]),
        ('["a", "b"].join("-")', "a-b"),
        ('"a\\u0000b"', "a\0b"),
    ],
)
def test_cel_with_its_libraries_is_the_language(source: str, value: object) -> None:
    assert evaluate(source, ORDER) == value


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("input.count + input.price", 5.5),
        ("input.price - 1", 1.5),
        ("2 * input.price", 5.0),
        ("input.count * 1.5", 4.5),
        ("1.5 * input.count", 4.5),
        ("7 / 2", 3),
        ("7 / 2.0", 3.5),
        ("input.count / 2", 1),
        ("input.count / 2.0", 1.5),
        ("1 + input.count * 2 - input.price", 4.5),
        ("input.count + input.count", 6),
        ("input.email + input.email", "buyer@example.combuyer@example.com"),
        ("1 < 1.5 && 1.5 >= 1 && 1 == 1.0 && input.count != 3.5", True),
        ("(input.lines[0].sum + input.lines[1].sum) * 2", 7.0),
    ],
)
def test_ints_and_doubles_mix(source: str, value: object) -> None:
    found = evaluate(source, ORDER)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("source", ["input.email * 2.0", "input.email + 1", "input.note + 1.5", '1.5 + dyn("2")'])
def test_only_numbers_are_widened(source: str) -> None:
    assert failure(source, ORDER).startswith("no such operation")


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ('get(input, "address.tags.1", 0)', "y"),
        ('get(input, "address.zip", "none")', "none"),
        ('get(input, "note", "null counts as absent")', "null counts as absent"),
        ('get(input, "email.x.0")', None),
        ('get(input.lines, "7.sku", "-")', "-"),
        ("json(input.raw).ids[1]", 2),
        ("to_json(input.address)", '{"city":"Köln","tags":["x","y"]}'),
        ('input.address.merge({"city": "Bonn", "zip": 5}).city', "Bonn"),
        ('input.lines.map(l, get(l, "sum", 0)).sum()', 3.5),
        ("[].sum()", 0),
        ('input.lines.sort_by("sku").map(l, l.sku)', ["a", "b", "c"]),
        ('input.lines.sort_by("sum").map(l, l.sku)', ["b", "a", "c"]),
        ('input.lines.map(l, [l.sku, get(l, "sum", 0)]).to_map()', {"b": 1, "a": 2.5, "c": 0}),
        ("[1, null, 2].compact()", [1, 2]),
        ('{"a": 1, "b": input.note}.compact()', {"a": 1}),
        ('time("2026-11-22")', "2026-11-22T00:00:00Z"),
        ('time("2026-11-22", "Europe/Berlin")', "2026-11-21T23:00:00Z"),
        ('time("2026-11-22T10:00:00+02:00", "Asia/Tokyo")', "2026-11-22T08:00:00Z"),
        ('run.now.format("%d.%m.%Y")', "22.11.2026"),
        ('run.now.format("%H:%M %Z", "Europe/Berlin")', "11:00 CET"),
        ('time("2026-11-22").format("%j")', "326"),
        ("days(3)", "259200s"),
        ('time("2026-11-22") + days(3)', "2026-11-25T00:00:00Z"),
        ("run.now + days(1) > run.now", True),
        ('[run.now].map(t, t.format("%Y"))', ["2026"]),
    ],
)
def test_functions_of_the_language(source: str, value: object) -> None:
    assert evaluate(source, ORDER, **{"run.now": NOW}) == value


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ('json("[1,")', "json(): Expecting value: line 1 column 4 (char 3)"),
        ('json("NaN")', "NaN is no JSON"),
        ('json("9223372036854775808")', "an integer is outside of ±2^63"),
        ("json(input.count)", "json() takes a text, found a number"),
        ('["a"].sum()', "sum() takes a list of numbers"),
        ('[["a", 1], ["a", 2]].to_map()', 'to_map(): the key "a" comes twice'),
        ("[[1, 2]].to_map()", "to_map() takes a list of [key, value] with text keys"),
        (
            '[{"k": 1}, {"k": "x"}].sort_by("k")',
            'sort_by("k") needs keys of one kind that has an order, found a number and a text',
        ),
        ('time("22.11.2026")', 'time(): "22.11.2026" is no ISO 8601 date or time'),
        ('time("2026-11-22", "Berlin")', '"Berlin" is no time zone (such as Europe/Berlin)'),
        ('time("2026-11-22", "../../etc/passwd")', '"../../etc/passwd" is no time zone (such as Europe/Berlin)'),
        ("days(4000000)", "days(): more than 10,000 years"),
    ],
)
def test_functions_fail_in_words(source: str, message: str) -> None:
    assert failure(source, ORDER) == message


def test_directives_that_differ_between_platforms_are_no_directives() -> None:
    assert failure('run.now.format("%Q")', ORDER, **{"run.now": NOW}).startswith('format(): "%Q" is no directive')
    assert failure('run.now.format("%")', ORDER, **{"run.now": NOW}).startswith('format(): "%" is no directive')


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("input.?email", "buyer@example.com"),
        ("input.?zip", ABSENT),
        ("input.address.?zip", ABSENT),
        ("input.?address.?zip", ABSENT),
        ("input.?zip.code", ABSENT),
        ("input.?zip.orValue(5)", 5),
        ("input.?note", None),
        ('input.?zip.orValue(get(input, "count"))', 3),
        ("input.lines[?7]", ABSENT),
        ("input.lines[?0].sku", "b"),
        ('[?input.?zip, get(input, "count")]', [3]),
        ('{?"zip": input.?zip, "n": input.count}', {"n": 3}),
        ('{?"zip": input.?zip, "n": get(input, "count")}', {"n": 3}),
        ("input.?count.optMap(n, n + 1).orValue(0)", 4),
        ('input.?zip.optMap(n, n + get(input, "count")).orValue(0)', 0),
        ("[1].first()", 1),
        ("[].last()", ABSENT),
    ],
)
def test_optionals_have_a_value_or_none(source: str, value: object) -> None:
    assert compiled(source).evaluate_optional({"input": ORDER}) == value


def test_without_value_at_the_top_is_a_failure() -> None:
    assert failure("input.?zip", ORDER) == "there is no value"


def test_a_skipped_step_has_no_output() -> None:
    expression = compiled("steps.approve.?output.?by")
    assert expression.evaluate_optional({"steps.approve": {"status": "skipped"}}) is ABSENT
    assert expression.evaluate_optional({"steps.approve": {"output": {"by": "ada"}}}) == "ada"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("input.zip", 'input has no "zip"'),
        ("input.address.zip.code", 'input.address has no "zip"'),
        ("input.email.domain", 'input.email is a text, so it has no "domain"'),
        ("input.note.x", 'input.note is null, so it has no "x"'),
        ("input.lines[3]", "input.lines has 3 elements, so no [3]"),
        ("input.lines[3].sku + input.email", "input.lines has 3 elements, so no [3]"),
        ("input.zip + 1", 'input has no "zip"'),
        ("input.?address.tags[5]", "input.address.tags has 2 elements, so no [5]"),
        ("input.?email.x", 'input.email is a text, so it has no "x"'),
        ("steps.a.output + 1", 'steps.a has no "output"'),
        ("result.status", "result has no value here"),
        ("result.status == 200", "result has no value here"),
        ("input.lines.map(l, l.sum)", 'there is no key "sum"'),
        ("input.count / 0", "division by zero"),
        ("input.price / 0.0", "a number is infinite or not a number (NaN)"),
        ("9223372036854775807 + input.count", "integer overflow"),
        ('b"abc"', "bytes are no JSON value: use base64.encode(…) or string(…)"),
        ("type(1)", "a value of type Type is no JSON value"),
        ("{1: 2}", "a key of a map must be text, found 1"),
        ("9223372036854775808u", "an integer is outside of ±2^63"),
        ('input.email.matches("(")', "invalid regular expression: missing ): ("),
    ],
)
def test_failures_say_what_was_not_there(source: str, message: str) -> None:
    assert failure(source, ORDER, **{"steps.a": {"status": "skipped"}}) == message


def test_a_failure_names_its_expression() -> None:
    with pytest.raises(ExpressionFailed, match=r'input has no "zip", in \$\{input\.zip\}'):
        evaluate("input.zip", ORDER)


def test_instants_and_durations_become_text() -> None:
    values = {"run.now": NOW, "run.started_at": NOW.replace(microsecond=0)}
    assert compiled("run.now").evaluate(values) == "2026-11-22T10:00:00.500Z"
    assert compiled("[run.started_at]").evaluate(values) == ["2026-11-22T10:00:00Z"]
    assert compiled("run.now - run.started_at").evaluate(values) == "0.500s"
    assert compiled("string(run.now)").evaluate(values) == compiled("run.now").evaluate(values)


def test_conditions_give_true_or_false() -> None:
    assert compiled("input.count > 2").evaluate_bool({"input": ORDER}) is True
    with pytest.raises(ExpressionFailed, match="expected true or false, found a text"):
        compiled("input.email").evaluate_bool({"input": ORDER})


def test_logic_absorbs_the_failure_of_the_other_side() -> None:
    for ours in ("true", 'get({"a": true}, "a")'):
        assert evaluate(f"input.zip == 1 || {ours}", ORDER) is True
        assert evaluate(f"{ours} || input.zip == 1", ORDER) is True
        assert evaluate(f"input.zip == 1 && !{ours}", ORDER) is False
    assert failure('input.zip == 1 || get({"a": false}, "a")', ORDER) == 'input has no "zip"'


class LookedUp(Mapping[str, Any]):
    """Values that remember what was asked of them."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values_by_root = values
        self.asked: list[str] = []

    def __getitem__(self, name: str) -> Any:
        self.asked.append(name)
        return self.values_by_root[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_by_root)

    def __len__(self) -> int:
        return len(self.values_by_root)


@pytest.mark.parametrize(
    "source",
    [
        "input.count",
        "input.count > input.price && input.count < 5",
        "steps.a.output.x + input.count",
        "input.lines.map(l, l.sku)",
        'input.count == 3 && input.email != "" && !(input.note == null)',
        'get(input, "zip", input.count) + steps.a.output.x + input.lines.map(l, get(l, "sum", 0)).sum()',
    ],
)
def test_only_the_names_an_expression_reads_are_looked_up(source: str) -> None:
    values = LookedUp({"input": ORDER, "steps.a": {"output": {"x": 1}}, "vars": {}})
    expression = compiled(source)
    expression.evaluate(values)
    assert set(values.asked) == expression.names
    assert len(values.asked) == len(expression.names)


def test_a_loop_variable_is_no_name() -> None:
    expression = compiled('input.lines.map(l, l.sku + steps.a.output.x).filter(s, s != "")')
    assert expression.names == {"input", "steps.a"}


def test_references_say_what_is_optional_and_where_each_part_stands() -> None:
    source = 'has(input.note) ? steps.approve.?output[?"by"] : optional.of(get(input, "address.city"))'
    references = {reference.path: reference for reference in compiled(source).references}
    assert references["input", "note"].optional == (False, True)
    step = references["steps", "approve", "output", "by"]
    assert step.optional == (False, False, True, True)
    assert [source[at:].startswith(str(part)) for part, at in zip(step.path, step.offsets, strict=True)] == [True] * 4
    assert references["input", "address", "city"].optional == (False, True, True)


def test_instants_are_single_names() -> None:
    expression = compiled("run.id + string(run.now)")
    assert expression.names == {"run.id", "run.now"}
    assert [reference.offsets[0] for reference in expression.references] == [0, 16]
