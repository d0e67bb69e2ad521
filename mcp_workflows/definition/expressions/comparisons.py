"""Comparing with a constant, which is what most conditions do, without asking CEL. It gives what CEL gives."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, cast

from mcp_workflows.definition.expressions.island import Evaluate
from mcp_workflows.definition.expressions.tree import Const
from mcp_workflows.definition.expressions.values import Unusable, kind_name

Json = Any

COMPARISONS = {"_==_": "_==_", "_!=_": "_!=_", "_<_": "_>_", "_<=_": "_>=_", "_>_": "_<_", "_>=_": "_<=_"}
"""Each with what it is when its sides change places."""

_ORDER: Mapping[str, Callable[[Json, Json], bool]] = {
    "_<_": operator.lt,
    "_<=_": operator.le,
    "_>_": operator.gt,
    "_>=_": operator.ge,
}


def may_compare(function: str, constant: Const) -> bool:
    """Whether Python agrees with CEL on comparing any JSON value with ``constant``."""
    match constant.kind:
        case "int":
            return abs(cast("int", constant.value)) < 1 << 53
        case "double":
            return True
        case "null" | "bool" | "string":
            return function not in _ORDER
        case _:
            return False


def comparison(function: str, operand: Evaluate, constant: Json) -> Evaluate:
    """``operand function constant``."""
    # Not isinstance: true is no number here.
    kinds = (int, float) if type(constant) in (int, float) else (cast("type[object]", type(constant)),)
    if (order := _ORDER.get(function)) is not None:
        return _ordered(order, operand, constant)
    expected = function == "_==_"

    def evaluate(values: Mapping[str, Json]) -> Json:
        value = operand(values)
        return (type(value) in kinds and value == constant) is expected

    return evaluate


def _ordered(order: Callable[[Json, Json], bool], operand: Evaluate, constant: Json) -> Evaluate:
    def evaluate(values: Mapping[str, Json]) -> Json:
        value = operand(values)
        if type(value) not in (int, float):
            raise Unusable(f"{kind_name(value)} cannot be compared with a number")
        return order(value, constant)

    return evaluate
