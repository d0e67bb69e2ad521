"""What this package does instead of CEL gives what CEL gives, for values and expressions at random."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from mcp_workflows.definition.expressions import ABSENT, ExpressionInvalid, Template, wire
from mcp_workflows.definition.expressions.chains import ChainReader
from mcp_workflows.definition.expressions.environments import checker, runner
from mcp_workflows.definition.expressions.expression import Expression
from mcp_workflows.definition.expressions.guards import Guard
from mcp_workflows.definition.expressions.island import Island
from mcp_workflows.definition.expressions.optionals import Kind, kind_of
from mcp_workflows.definition.expressions.tree import ListLiteral
from mcp_workflows.definition.expressions.values import checked, from_cel
from tests.definition.expressing import compiled, template

FAILED = "failed"
NO_ITEMS = frozenset[str]()

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.integers(-3, 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
keys = st.sampled_from(["a", "b", "c"]) | texts
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)


def outcome(evaluate: Any, values: Mapping[str, Any]) -> object:
    try:
        return evaluate(values)
    except ValueError:
        return FAILED


def same(first: object, second: object) -> bool:
    """Equal, and of equal types at every depth; the order of a map's keys is not part of it."""
    return repr(ordered(first)) == repr(ordered(second))


def ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: ordered(part) for key, part in sorted(value.items())}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return [ordered(part) for part in value] if isinstance(value, list) else value  # pyright: ignore[reportUnknownVariableType]


def only_cel(source: str) -> Island:
    """The expression evaluated by CEL alone."""
    tree = wire.read(checker(NO_ITEMS).compile(source).serialize())
    return Island(
        Guard(tree).guarded(tree.root),
        ChainReader(tree, source, NO_ITEMS).all(tree.root),
        holes={},
        optional=kind_of(tree.root, {}) is Kind.OPTIONAL,
        repeated=False,
        local=frozenset(),
    )


def inner(expression: Expression) -> Any:
    return expression._evaluate  # pyright: ignore[reportPrivateUsage]


PARTS = [".a", ".b", ".?a", ".?b", '["a"]', '[?"b"]', "[0]", "[1]", "[?0]", "[?1]"]
SHAPES: list[Any] = [
    *(None, True, 1, 1.5, "x", [], {}, [1], {"a": None}, {"a": 1}, {"a": {}}, {"a": []}, {"a": [1, 2]}, {"0": 1}),
    *(
        {"a": {"b": 1}},
        {"a": {"b": None}},
        {"a": {"b": {"a": 1}}},
        [1, {"a": 2}],
        [[1], {"b": 2}],
        {"a": {"b": [{"a": 5}]}},
    ),
]


@pytest.mark.parametrize("length", [1, 2, 3])
def test_walking_a_chain_gives_what_cel_gives_for_every_kind_of_value(length: int) -> None:
    for parts in itertools.product(PARTS, repeat=length):
        chain = "input" + "".join(parts)
        tests = parts[-1] in (".a", ".b") and not any("?" in part for part in parts)
        for source in [chain, f"has({chain})"] if tests else [chain]:
            walk, cel = inner(compiled(source)), only_cel(source)
            assert not isinstance(walk, Island), source
            for value in SHAPES:
                values = {"input": value}
                assert same(outcome(walk, values), outcome(cel, values)), (source, value)


@given(st.lists(st.sampled_from(PARTS), min_size=1, max_size=5), json_values)
@example([".a", ".a"], {"a": {"a": -0.0}})
def test_walking_a_chain_gives_what_cel_gives(parts: list[str], value: Any) -> None:
    source = "input" + "".join(parts)
    values = {"input": value}
    assert same(outcome(inner(compiled(source)), values), outcome(only_cel(source), values))


@given(json_values)
def test_json_goes_through_cel_and_comes_back(value: Any) -> None:
    program = runner().deserialize(wire.write(wire.read(checker(NO_ITEMS).compile("input").serialize()).root))
    assert same(from_cel(program.eval(data={"input": checked(value)})), value)
    assert same(template("${input}").render({"input": value}), value)
    assert same(Template.of({"a": [template("${ {'v': input} }")]}).render({"input": value}), {"a": [{"v": value}]})


# Expressions at random. They are not always well typed; those that are refused say nothing here.

leaves = st.sampled_from(
    ["input.a", "input.b", "input.c", "input.l", "input.zip", "1", "2.5", "0", '"x"', "true", "false", "null", "dyn(1)"]
)


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    binary = st.sampled_from(["+", "-", "*", "/", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "in"])
    macros = st.sampled_from(["map", "filter", "all", "exists", "exists_one"])
    element = st.sampled_from(["e", "e == 1", "e > input.a", "[e]", "e + 1", "input.zip == e", "e.x", "dyn(e) != null"])
    return st.one_of(
        st.builds("({} {} {})".format, inner, binary, inner),
        st.builds("({} ? dyn({}) : dyn({}))".format, inner, inner, inner),
        st.builds("!({})".format, inner),
        st.builds("[{}, {}]".format, inner, inner),
        st.builds('{{"k": {}, "m": {}}}'.format, inner, inner),
        st.builds('{{"k": {}}}.k'.format, inner),
        st.builds("[{}, {}][1]".format, inner, inner),
        st.builds("({}).{}(e, {})".format, inner, macros, element),
        st.builds("cel.bind(v, {}, [v, {}])".format, inner, inner),
        st.builds('[?input.?zip, ?optional.of({}), ?{{"q": {}}}.?q]'.format, inner, inner),
        st.builds("optional.of({}).optMap(o, [o]).orValue([])".format, inner),
        st.builds("size({})".format, inner),
    )


expressions = st.recursive(leaves, _grown, max_leaves=6)


def _ours(leaf: str) -> str:
    """The same value, found by a function of ours: all that is around it is then evaluated outside of CEL."""
    return f'get({{"v": [{leaf}]}}, "v")[0]'


@settings(max_examples=400)
@given(
    expressions,
    st.fixed_dictionaries({"a": scalars, "b": scalars, "c": json_values, "l": st.lists(scalars, max_size=3)}),
)
@example("(true || input.zip) && (input.l.all(e, e == 1))", {"a": 1, "b": 2, "c": None, "l": [1, 2]})
@example("input.l.exists(e, e > input.a)", {"a": 1, "b": 2, "c": None, "l": ["x", 2]})
@example("input.l.filter(e, e == 1)", {"a": 1, "b": 2, "c": None, "l": [1, 1.0, True]})
def test_what_is_evaluated_outside_of_cel_gives_what_cel_gives(source: str, value: Any) -> None:
    values = {"input": value}
    try:
        expected = outcome(only_cel(source), values)
        plain = inner(compiled(source))
    except (ExpressionInvalid, RuntimeError):
        assume(condition=False)
        raise
    assert same(outcome(plain, values), expected)
    for leaf in ("input.a", "input.l", "input.zip", "e", "true", "2.5"):
        try:
            mixed = inner(compiled(_with(source, leaf)))
        except ExpressionInvalid:
            continue  # what get gives is dyn, which a list of ints, say, does not take
        assert same(outcome(mixed, values), expected), _with(source, leaf)


def _with(source: str, leaf: str) -> str:
    """``source`` with ``leaf`` behind a function of ours, wherever it stands for a value."""
    spaced = f" {source} ".replace("(e, ", "(§, ")
    for before, after in itertools.product("( [", ") ],."):
        spaced = spaced.replace(f"{before}{leaf}{after}", f"{before}{_ours(leaf)}{after}")
    return spaced.replace("§", "e").strip()


conditions = st.recursive(
    st.builds(
        "{} {} {}".format,
        st.sampled_from(["input", "input.a", "input.a.b", "input.b[0]", "input.l[1]"]),
        st.sampled_from(["==", "!=", "<", "<=", ">", ">="]),
        st.sampled_from(
            ["1", "0", "-1", "true", "false", "null", '"x"', '""', '"1"', "9007199254740993", "1.5", "-0.0", "dyn(1)"]
        ),
    )
    | st.sampled_from(
        [
            "size(input.a) > 1",
            "3 >= input.l.size()",
            "2.5 < input.a",
            "has(input.a)",
            "has(input.a.b)",
            "input.a",
            "input.b",
            "true == input.a",
            '"x" != input.b',
        ]
    ),
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from(["&&", "||"]), inner) | st.builds("!({})".format, inner)
    ),
    max_leaves=5,
)


@settings(max_examples=300)
@given(conditions, json_values)
@example("input.a == 1", {"a": True})
@example("input.a == 1", {"a": 1.0})
@example("input.a == true", {"a": 1})
@example("input.a == 9007199254740993", {"a": 9007199254740992.0})
@example("!(input.a) || input.b", {"a": 1, "b": True})
def test_conditions_give_what_cel_gives(source: str, value: Any) -> None:
    values = {"input": value}
    assert same(outcome(inner(compiled(source)), values), outcome(only_cel(source), values))


wholes = st.sampled_from(
    ["input", "input.a", "input.a.b", "input.a[0]", "input.l[1]", "input.?a.?b", "input.b", "input.l[70]"]
)
uses = st.sampled_from(["size({0})", "{0} == {1}", "[dyn({0}), {1}]", "has(input.a) && {0} != null", "{0} in [{1}]"])


@given(wholes, wholes, uses, json_values)
@example("input.l[1]", "input.l[70]", "{0} == {1}", {"l": list(range(100))})
@example("input.a.b", "input.a", "{0} == {1}", {"a": {"b": {}}})
def test_binding_only_what_is_read_changes_nothing(first: str, second: str, use: str, value: Any) -> None:
    source = use.format(first, second)
    try:
        island = only_cel(source)
    except RuntimeError:
        assume(condition=False)
        raise
    whole = only_cel(f"[input].map(i, dyn({source.replace('input', 'i')}))[0]")
    assert same(outcome(island, {"input": value}), outcome(whole, {"input": value}))


@given(expressions)
def test_a_tree_is_written_as_it_was_read(source: str) -> None:
    try:
        program = checker(NO_ITEMS).compile(source)
    except RuntimeError:
        assume(condition=False)
        raise
    tree = wire.read(program.serialize())
    assert wire.read(wire.write(tree.root)).root == tree.root


@pytest.mark.parametrize(
    "source", ["-1", "-9223372036854775808", "18446744073709551615u", "-0.5", 'b"\\xff"', "1e300", '"ü"']
)
def test_constants_are_written_as_they_were_read(source: str) -> None:
    tree = wire.read(checker(NO_ITEMS).compile(source).serialize())
    assert wire.read(wire.write(tree.root)) == wire.Tree(tree.root, {}, {})


def test_optional_elements_are_written_as_they_were_read() -> None:
    tree = wire.read(checker(NO_ITEMS).compile('[1, ?input.?a, {?"k": input.?b}]').serialize())
    assert isinstance(tree.root, ListLiteral)
    assert tree.root.optional == {1}
    assert wire.read(wire.write(tree.root)).root == tree.root


@given(json_values)
def test_functions_of_ours_agree_with_themselves(value: Any) -> None:
    values = {"input": {"v": value}}
    assert same(compiled("json(to_json(input.v))").evaluate(values), value)
    if value is not None:
        assert same(compiled('get(input, "v", 1)').evaluate(values), value)
    assert json.loads(compiled("to_json(input)").evaluate(values)) == {"v": value}
    assert compiled("input.?v").evaluate_optional(values) is not ABSENT
