"""What exists in expressions: CEL's libraries and the language's own functions.

There are two environments. One checks what authors write. The other evaluates trees, and has nothing of ours: the added
functions are called outside of CEL (``evaluator.py``), and mixed arithmetic is spelled out in the tree (``guards.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mcp_workflows.definition.expressions import functions
from mcp_workflows.definition.expressions.library import Environment, Overload, new_environment
from mcp_workflows.definition.expressions.variables import INSTANTS, ROOTS, RUN

_MIXED = (("INT", "DOUBLE"), ("DOUBLE", "INT"))
_NUMBERS = (
    *(Overload(symbol, pair, "DOUBLE") for symbol in ("_+_", "_-_", "_*_", "_/_") for pair in _MIXED),
    *(Overload(symbol, pair, "BOOL") for symbol in ("_<_", "_<=_", "_>_", "_>=_", "_==_", "_!=_") for pair in _MIXED),
)


@dataclass(frozen=True, slots=True)
class Function:
    """One that the language adds: what runs, what it takes (the receiver first) and gives, in CEL's types."""

    run: Callable[..., Any]
    forms: tuple[tuple[str, ...], ...]
    returns: str
    member: bool = False


ADDED = {
    "get": Function(functions.get, (("DYN", "STRING"), ("DYN", "STRING", "DYN")), "DYN"),
    "json": Function(functions.from_json, (("STRING",),), "DYN"),
    "to_json": Function(functions.to_json, (("DYN",),), "STRING"),
    "merge": Function(functions.merge, (("MAP", "MAP"),), "MAP", member=True),
    "sum": Function(functions.total, (("LIST",),), "DYN", member=True),
    "sort_by": Function(functions.sort_by, (("LIST", "STRING"),), "LIST", member=True),
    "to_map": Function(functions.to_map, (("LIST",),), "MAP", member=True),
    "compact": Function(functions.compact, (("LIST",), ("MAP",)), "DYN", member=True),
    "time": Function(functions.time, (("STRING",), ("STRING", "STRING")), "TIMESTAMP"),
    "format": Function(
        functions.format_instant, (("TIMESTAMP", "STRING"), ("TIMESTAMP", "STRING", "STRING")), "STRING", member=True
    ),
    "days": Function(functions.days, (("INT",),), "DURATION"),
}
"""The functions that the language adds, by name."""


@lru_cache(maxsize=64)
def checker(items: frozenset[str]) -> Environment:
    """The environment that checks; ``items`` are the names of loops' items."""
    added = [
        Overload(name, form, function.returns, function.member)
        for name, function in ADDED.items()
        for form in function.forms
    ]
    return new_environment(INSTANTS, (ROOTS - {"run"}) | (RUN - INSTANTS) | items, (*_NUMBERS, *added))


@lru_cache(maxsize=1)
def runner() -> Environment:
    """The environment that evaluates. It needs no variables: what is bound is JSON."""
    return new_environment((), (), ())
