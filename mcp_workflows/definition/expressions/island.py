"""A part of an expression that CEL evaluates by itself, given only what it reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mcp_workflows.definition.expressions import wire
from mcp_workflows.definition.expressions.binding import Binding
from mcp_workflows.definition.expressions.chains import Chain
from mcp_workflows.definition.expressions.environments import runner
from mcp_workflows.definition.expressions.messages import reason
from mcp_workflows.definition.expressions.tree import ListLiteral, Node
from mcp_workflows.definition.expressions.values import ABSENT, Failure, Unusable, checked, from_cel
from mcp_workflows.definition.expressions.walk import missing

Json = Any
Evaluate = Callable[[Mapping[str, Json]], Json]
"""Gives the value of a node, or ``ABSENT``. Raises ``ValueError``."""

_NOT_THERE = ("Key not found", "Applying SELECT", "Index error", "No value with name")


class Island:
    """A guarded tree, compiled; ``holes`` are variables of it that are evaluated outside of CEL first."""

    __slots__ = ("_binding", "_chains", "_holes", "_optional", "_program")

    def __init__(
        self,
        node: Node,
        chains: Sequence[Chain],
        *,
        holes: Mapping[str, Evaluate],
        optional: bool,
        repeated: bool,
        local: frozenset[str],
    ) -> None:
        # An optional becomes a list of none or one, which can be converted.
        whole = ListLiteral(0, (node,), frozenset({0})) if optional else node
        self._program = runner().deserialize(wire.write(whole))
        self._chains = tuple(chains)
        self._binding = Binding(chains, repeated=repeated, local=local)
        self._holes = tuple(holes.items())
        self._optional = optional

    def __call__(self, values: Mapping[str, Json]) -> Json:
        bound = self._binding.bind(values)
        for name, hole in self._holes:
            bound[name] = checked(hole(values))
        try:
            result = from_cel(self._program.eval(data=bound))
        except (Failure, RuntimeError) as error:
            raise Unusable(self._why(str(error), values)) from None
        if self._optional:
            return result[0] if result else ABSENT
        return result

    def _why(self, error: str, values: Mapping[str, Json]) -> str:
        """The failure in words: if something was not there, what."""
        if any(said in error for said in _NOT_THERE):
            for chain in self._chains:
                if said := missing(chain, values):
                    return said
        return reason(error)
