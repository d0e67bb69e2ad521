"""What would stall, bloat, corrupt or end the process, and does not."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mcp_workflows.definition.expressions import ExpressionFailed
from tests.definition.expressing import compiled, evaluate, failure, template


def alone(code: str, *, timeout: float = 60) -> str:
    """What ``code`` prints in a process of its own, which must end well."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    return done.stdout.strip()


@pytest.mark.parametrize("seed", [11, 12])
def test_no_expression_and_no_value_ends_the_process(seed: int) -> None:
    alone(f"from tests.definition.fuzz_expressions import main; main({seed}, 1500)", timeout=110)


@pytest.mark.soak
def test_no_expression_and_no_value_ends_the_process_for_long() -> None:
    alone("from tests.definition.fuzz_expressions import main; main(13, 40_000)", timeout=1800)


def test_nulls_do_not_use_up_the_process() -> None:
    """The library gives away a reference to None with each null; before Python 3.12 that ends the process in time."""
    code = """
    from tests.definition.expressing import compiled
    expression = compiled("[dyn(null), input.a == null ? null : null]")
    for _ in range(20_000):
        assert expression.evaluate({"input": {"a": None}}) == [None, None]
    print("alive")
    """
    assert alone(code) == "alive"


@pytest.mark.parametrize(
    "source",
    [
        'get(input, "list.5") + input.text',
        'input.text.replace("y", "z").size() + 1.5 * input.n',
        "input.list.map(e, e + e).size() * input.n",
        "[input.list, input.text].size()",
        "input.?zip.orValue(input.text)",
        'input.list.map(e, get({"v": e}, "v")).size()',
        "input.zip",
    ],
)
def test_memory_does_not_grow_with_evaluations(source: str) -> None:
    code = f"""
    from tests.definition.expressing import compiled
    from mcp_workflows.definition.expressions import ExpressionFailed
    expression = compiled({source!r})
    values = {{"input": {{"list": ["y" * 100] * 200, "text": "y" * 20_000, "n": 1.5}}}}

    def resident():
        return int(open("/proc/self/statm").read().split()[1]) * 4096

    def run(rounds):
        for _ in range(rounds):
            try:
                expression.evaluate(values)
            except ExpressionFailed:
                pass

    run(300)
    before = resident()
    run(1_000)
    print(resident() - before)
    """
    if not sys.platform.startswith("linux"):
        pytest.skip("reads /proc")
    assert int(alone(code)) < 4_000_000  # one leaked text each time would be 20 MB


@pytest.mark.parametrize(
    ("source", "value", "message"),
    [
        ("input.a + 'x'", "a\0b", "a text with the character NUL cannot be computed with"),
        ("input.a + 'x'", "\ud800", "a text with half of a surrogate pair (broken Unicode) cannot be computed with"),
        (
            "[input.a] == [1]",
            {"\ud800": 1},
            "a text with half of a surrogate pair (broken Unicode) cannot be computed with",
        ),
        ("[input.a] == [1]", 2**63, "an integer is outside of ±2^63"),
        ("[input.a] == [1]", -(2**63) - 1, "an integer is outside of ±2^63"),
        ("[input.a] == [1]", float("nan"), "a number is infinite or not a number (NaN)"),
        ("[input.a] == [1]", {5: 1}, "a key of a map must be text, found 5"),
        ("[input.a] == [1]", b"x", "bytes are no JSON value: use base64.encode(…) or string(…)"),
    ],
)
def test_what_would_reach_cel_changed_is_refused(source: str, value: object, message: str) -> None:
    assert failure(source, {"a": value}) == message


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def test_deep_json_is_refused_before_it_reaches_cel() -> None:
    assert evaluate("[input.a].size()", {"a": nested(64)}) == 1
    assert failure("[input.a].size()", {"a": nested(65)}) == "a value is nested deeper than 64 levels"
    assert failure("[input.a].size()", {"a": nested(100_000)}) == "a value is nested deeper than 64 levels"
    assert failure("to_json(input.a)", {"a": nested(100_000)}) == "the value is nested too deeply for a JSON text"
    assert failure("json(input.a)", {"a": "[" * 100_000}).startswith("json(): the text is nested too deeply")


def test_what_nobody_computes_with_passes_as_it_is() -> None:
    odd = {"text": "a\0b\ud800", "number": 2**70, "deep": nested(500)}
    assert evaluate("input.a", {"a": odd}) is odd
    assert template("${input.a.text}").render({"input": {"a": odd}}) == "a\0b\ud800"
    assert evaluate('get(input, "a.number")', {"a": odd}) == 2**70


@pytest.mark.parametrize(
    "source",
    [
        "input.email + '!'",
        "has(input.email) && input.email != ''",
        "input.list[1].x + 1",
        "input.?email.orValue('') + ''",
        "[input.map.a.b].size()",
        "get(input.map, 'a.b') + 1",
        "input.list.size() > 2 && size(input.map) == 1",
        "[1, 2].map(e, e + input.map.a.b)",
    ],
)
def test_only_what_is_read_is_converted(source: str) -> None:
    """``object()`` stands for a mebibyte: nothing here can convert it."""
    big = object()
    evaluate(
        source, {"email": "a@b", "list": [big, {"x": 1, "y": big}, big], "map": {"a": {"b": 1, "c": big}}, "big": big}
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("input.l.map(e, e).size()", "map and filter give at most 2,000 elements here"),
        ("input.l.filter(e, true).size()", "map and filter give at most 2,000 elements here"),
        ("input.l.transformList(i, e, e).size()", "map and filter give at most 2,000 elements here"),
        ('input.l.map(e, get({"v": e}, "v")).size()', "map and filter give at most 2,000 elements here"),
        (
            'json(to_json(input.l)).filter(e, get({"v": true}, "v")).size()',
            "map and filter give at most 2,000 elements here",
        ),
        ("input.m.map(k, k).size()", "map and filter give at most 2,000 elements here"),
        ("(input.l + input.l + input.l + input.l + input.l).all(e, e >= 0)", "more than 10,000 iterations"),
        ('input.l.all(e, input.l.all(f, get({"v": f}, "v") >= 0))', "more than 10,000 iterations"),
        ("lists.range(10001)", "lists.range(10001): the limit is 10,000"),
        ("lists.range(input.n)", "lists.range(999999999): the limit is 10,000"),
        ("input.text.replace('y', input.text)", "replace() would give a text of 40,000,000,000 characters"),
        ("input.l.map(e, 'x').join(input.text)", "map and filter give"),
        ("['a', 'b', 'c', 'd', 'e', 'f'].join(input.text)", "join() would give a text of 1,200,006 characters"),
        ("regex.replace(input.text, 'y', input.text)", "regex.replace() would give too long a text"),
        ("[1, 2].map(e, input.text)", "a text of 200,000 characters is read inside a loop"),
        (
            "[1].map(e, get({'v': e}, 'v') in input.l)",
            "more than 2,000 elements are read anew for each element of a loop",
        ),
    ],
)
def test_what_would_stall_the_process_fails_instead(source: str, message: str) -> None:
    values = {"l": list(range(2_001)), "text": "y" * 200_000, "n": 999_999_999, "m": {str(n): n for n in range(2_001)}}
    assert message in failure(source, values)


def test_a_chain_of_replacements_ends_early() -> None:
    source = '"aaaaaaaaaa"' + '.replace("a", "aaaaaaaaaa")' * 12
    assert "replace() would give a text of 10,000,000 characters" in failure(source)


def test_filtering_a_long_list_is_fine_where_little_is_left() -> None:
    assert evaluate("input.filter(e, e > 8997)", list(range(9_000))) == [8998, 8999]


def test_quadratic_functions_are_linear_here() -> None:
    many = list(range(100_000))
    assert evaluate("sets.contains(input.a, input.a) && sets.equivalent(input.a, input.a)", {"a": many}) is True
    hay, needle = "y" * 600_000, "y" * 300_000 + "z"
    assert evaluate("input.hay.contains(input.needle)", {"hay": hay, "needle": needle}) is False
    assert evaluate("input.hay.indexOf(input.needle)", {"hay": hay, "needle": needle}) == -1


def test_maps_have_one_order_in_every_process() -> None:
    code = """
    from tests.definition.expressing import evaluate
    map = {key: 1 for key in "qwertzuiopasdfghjkl"}
    print(evaluate("[[input], input.map(k, k), input.transformList(k, v, k), [[1]].map(e, input.map(k, k))]", map))
    print(evaluate('{"z": 1, "b": 2, "y": 3, "a": input.size()}', map))
    """
    assert alone(code) == alone(code)


def test_threads_share_expressions() -> None:
    expressions = [
        compiled('input.items.filter(i, i.n > 1).map(i, i.name + "-" + string(i.n))'),
        compiled('input.items.map(i, get(i, "n", 0)).sum() * 1.5'),
        compiled("input.?zip.orValue(input.items.size())"),
        compiled("input.zip.code"),
    ]

    def work(number: int) -> list[Any]:
        values = {"input": {"items": [{"n": n, "name": f"t{number}"} for n in range(number % 5)]}}
        found: list[Any] = []
        for expression in expressions:
            try:
                found.append(expression.evaluate(values))
            except ExpressionFailed as failed:
                found.append(str(failed))
        return found

    expected = [work(number) for number in range(400)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(400))) == expected
