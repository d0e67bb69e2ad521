"""The forms of an expression that are evaluated outside of CEL, each as CEL would."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from mcp_workflows.definition.expressions.island import Evaluate
from mcp_workflows.definition.expressions.values import ABSENT, Unusable, kind_name
from mcp_workflows.definition.expressions.walk import MISSING, WRONG_KIND, child

Json = Any
_Values = Mapping[str, Json]


def looked_up_once(names: Sequence[str], evaluate: Evaluate) -> Evaluate:
    """Looking a name up may be work, so what is read in several places is looked up first."""

    def evaluate_once(values: _Values) -> Json:
        found: dict[str, Json] = {}
        for name in names:
            with suppress(KeyError):
                found[name] = values[name]
        return evaluate(found)

    return evaluate_once


def call_of(function: Callable[..., Json], operands: Sequence[Evaluate]) -> Evaluate:
    """A call of one of our functions."""

    def evaluate(values: _Values) -> Json:
        return function(*[operand(values) for operand in operands])

    return evaluate


def list_of(parts: Sequence[Evaluate]) -> Evaluate:
    """A list; an optional element without value is left out."""

    def evaluate(values: _Values) -> Json:
        found = [part(values) for part in parts]
        return [element for element in found if element is not ABSENT]

    return evaluate


def map_of(entries: Sequence[tuple[Evaluate, Evaluate]]) -> Evaluate:
    """A map; an optional entry without value is left out."""

    def evaluate(values: _Values) -> Json:
        result: dict[str, Json] = {}
        for key_of, value_of in entries:
            key, value = key_of(values), value_of(values)
            if type(key) is not str:
                raise Unusable(f"a key of a map must be text, found {kind_name(key)}")
            if key in result:
                raise Unusable(f'the key "{key}" comes twice')
            if value is not ABSENT:
                result[key] = value
        return result

    return evaluate


def step_into(operand: Evaluate, key: Evaluate, *, optional: bool, tests: bool = False) -> Evaluate:
    """``operand.key``, ``operand[key]``, ``operand.?key``, ``has(operand.key)``. What follows an optional is optional."""

    def evaluate(values: _Values) -> Json:
        container, at = operand(values), key(values)
        if container is ABSENT:
            return False if tests else ABSENT
        found = _child(container, at)
        if tests and found is not WRONG_KIND:
            return found is not MISSING
        if found is MISSING and optional:
            return ABSENT
        if found is MISSING:
            raise Unusable(f'there is no key "{at}"' if isinstance(at, str) else f"there is no element [{at}]")
        if found is WRONG_KIND:
            raise Unusable(f"{kind_name(container)} has no elements with such a key")
        return found

    return evaluate


def _child(container: Json, at: Json) -> Json:
    match at:
        case bool():
            return WRONG_KIND
        case float() if at.is_integer():
            return _child(container, int(at))
        case int() if at < 0:
            return MISSING
        case str() | int():
            return child(container, at)
        case _:
            return WRONG_KIND


def negated(operand: Evaluate) -> Evaluate:
    """``!operand``."""
    return lambda values: not _bool(operand(values))


def both(left: Evaluate, right: Evaluate) -> Evaluate:
    """``left && right``: false as soon as one is, even if the other fails."""
    return _decided(left, right, by=False)


def either(left: Evaluate, right: Evaluate) -> Evaluate:
    """``left || right``: true as soon as one is, even if the other fails."""
    return _decided(left, right, by=True)


def _decided(left: Evaluate, right: Evaluate, *, by: bool) -> Evaluate:
    def evaluate(values: _Values) -> Json:
        try:
            if _bool(left(values)) is by:
                return by
        except ValueError as failure:
            if _bool(right(values)) is by:
                return by
            raise failure from None
        return _bool(right(values))

    return evaluate


def choose(condition: Evaluate, then: Evaluate, otherwise: Evaluate) -> Evaluate:
    """``condition ? then : otherwise``."""

    def evaluate(values: _Values) -> Json:
        return then(values) if _bool(condition(values)) else otherwise(values)

    return evaluate


def same(operand: Evaluate) -> Evaluate:
    """``dyn(operand)``, ``optional.of(operand)``: here, a value is an optional that has one."""
    return operand


def nothing() -> Evaluate:
    """``optional.none()``."""
    return lambda _: ABSENT


def has_value(operand: Evaluate) -> Evaluate:
    """``operand.hasValue()``."""
    return lambda values: operand(values) is not ABSENT


def value_of(operand: Evaluate) -> Evaluate:
    """``operand.value()``."""

    def evaluate(values: _Values) -> Json:
        found = operand(values)
        if found is ABSENT:
            raise Unusable("value() of an optional that has none")
        return found

    return evaluate


def not_false(operand: Evaluate) -> Evaluate:
    """Whether a loop goes on: a failure is no reason to stop, it may yet be absorbed."""

    def evaluate(values: _Values) -> Json:
        try:
            return operand(values) is not False
        except ValueError:
            return True

    return evaluate


def or_value(operand: Evaluate, default: Evaluate) -> Evaluate:
    """``operand.orValue(default)`` and ``operand.or(default)``."""

    def evaluate(values: _Values) -> Json:
        found = operand(values)
        return default(values) if found is ABSENT else found

    return evaluate


def _bool(value: Json) -> bool:
    if not isinstance(value, bool):
        raise Unusable(f"expected true or false, found {kind_name(value)}")
    return value
