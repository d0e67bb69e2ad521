"""Expressions and values at random, most of them nonsense: ``python -m tests.definition.fuzz_expressions SEED ROUNDS``.

Run as a process of its own: what it looks for ends the process. Anything but a value, a refusal or a failure ends it too.
"""

from __future__ import annotations

import random
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from mcp_workflows.definition.expressions import ExpressionFailed, ExpressionInvalid
from tests.definition.expressing import compiled, template

_ATOMS = """
input input.a input.b.c input.?a input[?0] input["k"] input[0] input.l steps.a.output steps.a run.now run.id item
1 0 -1 2.5 1e308 9223372036854775807 18446744073709551615u 7u "" "a" "é💥" "\\u0000" 'x' r"\\d" b"\\xff" true false null
[] {} {"a":1} [input.?a] {"o":input.?a} [1,2,3] ["a","b"] [[["k",1]]] int e v type(1)
optional.none() optional.of(1) timestamp("2026-01-01T00:00:00Z") duration("1h") time("2026-01-01") days(1)
lists.range(3) lists.range(99999999) json("[1,null]") google.protobuf.Struct{} google.protobuf.Value{}
google.protobuf.Any{} google.protobuf.Timestamp{seconds:1}
"""
ATOMS = _ATOMS.split()
OPERATORS = ["+", "-", "*", "/", "%", "==", "!=", "<", ">=", "&&", "||", "in"]
_FORMS = """
{0} OP {1}|{0}.size()|size({0})|!{0}|-{0}|{0} ? {1} : {2}|{0} ? dyn({1}) : dyn({2})|[{0}, {1}]|[?{0}]
{{"a": {0}, "b": {1}}}|{{?"a": {0}}}|{{{0}: {1}}}|{0}.a|{0}.?a|{0}[0]|{0}[?0]|{0}[{1}]|has({0}.a)|{0}.map(e, {1})
{0}.filter(e, {1})|{0}.all(e, {1})|{0}.exists(e, {1})|{0}.exists_one(e, {1})|{0}.transformList(e, v, {1})
{0}.transformMap(e, v, {1})|{0}.sortBy(e, {1})|{0}.sort()|cel.bind(v, {0}, {1})|dyn({0})|type({0})|string({0})
int({0})|double({0})|bytes({0})|timestamp({0})|duration({0})|{0}.orValue({1})|{0}.or({1})|{0}.value()|{0}.hasValue()
{0}.optMap(v, {1})|{0}.optFlatMap(v, {1})|optional.of({0})|optional.ofNonZeroValue({0})|{0}.first()|{0}.last()
{0}.reverse()|{0}.distinct()|{0}.flatten()|{0}.slice(0, 1)|lists.range({0})|sets.contains({0}, {1})
sets.equivalent({0}, {1})|sets.intersects({0}, {1})|{0}.replace({1}, {2})|{0}.split({1})|{0}.join({1})|{0}.join()
{0}.contains({1})|{0}.indexOf({1})|{0}.matches({1})|{0}.startsWith({1})|{0}.substring(1)|{0}.charAt(0)
{0}.lowerAscii()|{0}.trim()|"%s %d".format([{0}, {1}])|"%s".format({0})|strings.quote({0})|regex.extract({0}, {1})
regex.extractAll({0}, {1})|regex.replace({0}, {1}, {2})|base64.encode({0})|base64.decode({0})|math.greatest({0}, {1})
math.abs({0})|math.bitShiftLeft({0}, {1})|get({0}, {1})|get({0}, "a.b.0", {1})|json({0})|to_json({0})|{0}.merge({1})
{0}.sum()|{0}.sort_by({1})|{0}.to_map()|{0}.compact()|time({0})|time({0}, {1})|{0}.format({1})|{0}.format("%Y", {1})
days({0})|{0}.getFullYear()|{0}.getHours("Europe/Berlin")|optional.unwrap([{0}, {1}])|[{0}, {1}].unwrapOpt()
"""
SHAPES = [form for line in _FORMS.strip().splitlines() for form in line.split("|") if form]
STRANGE = ["", "${", "}", '"', "\\", "\0", "\ud800", "💥", "(", "]", "?", "//", "\n", "'''"]


def expression(dice: random.Random, depth: int) -> str:
    if depth == 0 or dice.random() < 0.15:
        return dice.choice(ATOMS)
    form = dice.choice(SHAPES).replace("OP", dice.choice(OPERATORS))
    return form.format(*(expression(dice, depth - 1) for _ in range(3)))


def mangled(dice: random.Random, source: str) -> str:
    """With some characters lost, doubled or strange."""
    characters = list(source)
    for _ in range(dice.randrange(1, 4)):
        at = dice.randrange(len(characters) + 1)
        characters[at : at + dice.randrange(2)] = dice.choice(STRANGE)
    return "".join(characters)


def value(dice: random.Random, depth: int) -> Any:
    kind = dice.randrange(14 if depth else 11)
    words = ["", "a", "x\0y", "\ud800", "é💥", "[1, null]", "2026-01-01", "(", "y" * 5000]
    numbers = [
        True,
        False,
        dice.randrange(-5, 5),
        2**63 - 1,
        2**63,
        -(2**70),
        dice.random(),
        float("nan"),
        float("inf"),
    ]
    simple: list[Any] = [None, *numbers, dice.choice([*words, b"x", object(), datetime.now(UTC)])]
    if kind < 11:
        return simple[kind]
    if kind == 11:
        return [value(dice, depth - 1) for _ in range(dice.randrange(4))]
    if kind == 12:
        nested: Any = timedelta(1) if dice.random() < 0.1 else 1
        for _ in range(dice.choice([3, 70, 50_000])):
            nested = [nested] if dice.random() < 0.5 else {"a": nested}
        return nested
    return {dice.choice(["a", "b", "c", "k", "l", "\0", 5]): value(dice, depth - 1) for _ in range(dice.randrange(5))}


def attempt(dice: random.Random) -> str:
    source = expression(dice, dice.randrange(1, 4))
    if dice.random() < 0.2:
        source = mangled(dice, source)
    values = {name: value(dice, 3) for name in ("input", "steps.a", "run.id", "item")}
    values["run.now"] = datetime(2026, 11, 22, tzinfo=UTC)
    if isinstance(values["input"], dict):
        values["input"] |= {"a": value(dice, 1), "l": [value(dice, 1) for _ in range(3)]}
    try:
        compiled(source).evaluate_optional(values)
        template("a ${" + source + "}").render(values)
        template("http://h/${" + source + "}").render_url(values)
    except ExpressionInvalid as refused:
        return "refused" if 0 <= refused.offset <= len(source) + 11 else f"{source}: refused at {refused.offset}"
    except ExpressionFailed:
        return "failed"
    return "gave"


def main(seed: int, rounds: int) -> None:
    counts = {"refused": 0, "failed": 0, "gave": 0}
    for number in range(rounds):
        dice = random.Random(f"{seed}/{number}")
        try:
            counts[attempt(dice)] += 1
        except BaseException:
            sys.stderr.write(f"seed {seed}, round {number}\n")
            raise
    sys.stdout.write(f"{counts}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
