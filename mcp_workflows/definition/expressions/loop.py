"""Loops that run outside of CEL, since something in them does: what ``map``, ``filter``, ``all`` … become."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, cast

from mcp_workflows.definition.expressions.island import Evaluate
from mcp_workflows.definition.expressions.messages import LIST_IS_TOO_LONG, TOO_MANY_ITERATIONS
from mcp_workflows.definition.expressions.values import Unusable, kind_name

Json = Any

_MAX_ITERATIONS = 10_000
"""In one evaluation, all loops together; CEL's own limit."""


class Layer(Mapping[str, Json]):
    """Loop variables over the values around them. A variable that failed fails again wherever it is read."""

    __slots__ = ("_around", "local", "room")

    def __init__(self, local: dict[str, Json], around: Mapping[str, Json]) -> None:
        self.local = local
        self._around = around
        self.room: list[int] = around.room if isinstance(around, Layer) else [_MAX_ITERATIONS]

    def __getitem__(self, name: str) -> Json:
        if name not in self.local:
            return self._around[name]
        value = self.local[name]
        if isinstance(value, ValueError):
            raise value
        return value

    def __iter__(self) -> Iterator[str]:
        return iter({**self._around, **self.local})

    def __len__(self) -> int:
        return len({**self._around, **self.local})


def bind(name: str, value: Evaluate, body: Evaluate) -> Evaluate:
    """``cel.bind(name, value, body)``; evaluated when it is read, a failure is the body's to absorb."""

    def evaluate(values: Mapping[str, Json]) -> Json:
        return body(Layer({name: _attempt(value, values)}, values))

    return evaluate


def appending(accumulator: str, more: Evaluate, *, limit: int) -> Evaluate:
    """``accumulator + more``. In place: nothing else can see the accumulator of a loop."""

    def evaluate(values: Mapping[str, Json]) -> Json:
        built = cast("list[Json]", values[accumulator])
        added = more(values)
        if len(built) >= limit:
            raise Unusable(LIST_IS_TOO_LONG)
        built.extend(added)
        return built

    return evaluate


@dataclass(frozen=True, slots=True)
class Loop:
    """A comprehension: ``accumulator`` begins as ``init`` and becomes ``step`` for each element, while ``condition``."""

    variable: str
    second_variable: str
    accumulator: str
    range: Evaluate
    init: Evaluate
    condition: Evaluate
    step: Evaluate
    result: Evaluate

    def __call__(self, values: Mapping[str, Json]) -> Json:
        local: dict[str, Json] = {self.accumulator: self.init(values)}
        layer = Layer(local, values)
        for first, second in _pairs(self.range(values), two=bool(self.second_variable)):
            local[self.variable] = first
            if self.second_variable:
                local[self.second_variable] = second
            if self.condition(layer) is not True:
                break
            layer.room[0] -= 1
            if layer.room[0] < 0:
                raise Unusable(TOO_MANY_ITERATIONS)
            local[self.accumulator] = _attempt(self.step, layer)
        return self.result(layer)


def _attempt(evaluate: Evaluate, values: Mapping[str, Json]) -> Json:
    """The value, or the failure as a value."""
    try:
        return evaluate(values)
    except ValueError as failure:
        return failure


def _pairs(elements: Json, *, two: bool) -> Iterator[tuple[Json, Json]]:
    """What the loop variables become. Maps go by the order of their keys, as in ``guards.py``."""
    match elements:
        case list():
            pairs = enumerate(cast("list[Json]", elements))
            return iter(pairs) if two else ((element, None) for _, element in pairs)
        case dict():
            return iter(sorted(cast("dict[str, Json]", elements).items(), key=itemgetter(0)))
        case _:
            raise Unusable(f"a loop needs a list or a map, found {kind_name(elements)}")
