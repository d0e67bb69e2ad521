"""What exists in expressions: CEL's libraries, the language's own functions, and the bounded stand-ins.

There are two environments. One checks what authors write, the other evaluates guarded trees. They differ since the
library can evaluate mixed comparisons (``1 < 2.5``) but has its checker refuse them, and will not have them declared
where it evaluates; and since guarded trees call functions that authors cannot name.
"""

from __future__ import annotations

import operator
from functools import lru_cache

from mcp_workflows.definition.expressions import functions
from mcp_workflows.definition.expressions.library import Environment, Overload, new_environment
from mcp_workflows.definition.expressions.variables import INSTANTS, ROOTS, RUN

_MIXED = (("INT", "DOUBLE"), ("DOUBLE", "INT"))

_ARITHMETIC = tuple(
    Overload(symbol, pair, "DOUBLE", run)
    for symbol, run in (("_+_", operator.add), ("_-_", operator.sub), ("_*_", operator.mul), ("_/_", operator.truediv))
    for pair in _MIXED
)
_COMPARISONS = tuple(
    Overload(symbol, pair, "BOOL") for symbol in ("_<_", "_<=_", "_>_", "_>=_", "_==_", "_!=_") for pair in _MIXED
)

ADDED = (
    Overload("get", ("DYN", "STRING"), "DYN", functions.get),
    Overload("get", ("DYN", "STRING", "DYN"), "DYN", functions.get),
    Overload("json", ("STRING",), "DYN", functions.from_json),
    Overload("to_json", ("DYN",), "STRING", functions.to_json),
    Overload("merge", ("MAP", "MAP"), "MAP", functions.merge, member=True),
    Overload("sum", ("LIST",), "DYN", functions.total, member=True),
    Overload("sort_by", ("LIST", "STRING"), "LIST", functions.sort_by, member=True),
    Overload("to_map", ("LIST",), "MAP", functions.to_map, member=True),
    Overload("compact", ("LIST",), "LIST", functions.compact, member=True),
    Overload("compact", ("MAP",), "MAP", functions.compact, member=True),
    Overload("time", ("STRING",), "TIMESTAMP", functions.time),
    Overload("time", ("STRING", "STRING"), "TIMESTAMP", functions.time),
    Overload("format", ("TIMESTAMP", "STRING"), "STRING", functions.format_instant, member=True),
    Overload("format", ("TIMESTAMP", "STRING", "STRING"), "STRING", functions.format_instant, member=True),
    Overload("days", ("INT",), "DURATION", functions.days),
)
"""The functions that the language adds."""

BOUNDED = (
    Overload("bounded_replace", ("STRING", "STRING", "STRING"), "STRING", functions.replace, member=True),
    Overload("bounded_replace", ("STRING", "STRING", "STRING", "INT"), "STRING", functions.replace, member=True),
    Overload("bounded_join", ("LIST",), "STRING", functions.join, member=True),
    Overload("bounded_join", ("LIST", "STRING"), "STRING", functions.join, member=True),
    Overload("bounded_contains", ("STRING", "STRING"), "BOOL", functions.contains, member=True),
    Overload("bounded_index_of", ("STRING", "STRING"), "INT", functions.index_of, member=True),
    Overload("bounded_index_of", ("STRING", "STRING", "INT"), "INT", functions.index_of, member=True),
    Overload("bounded_split", ("STRING", "STRING"), "LIST", functions.split, member=True),
    Overload("bounded_split", ("STRING", "STRING", "INT"), "LIST", functions.split, member=True),
    Overload("bounded_range", ("INT",), "LIST", functions.number_range),
    Overload("bounded_set_contains", ("LIST", "LIST"), "BOOL", functions.set_contains),
    Overload("bounded_set_equivalent", ("LIST", "LIST"), "BOOL", functions.set_equivalent),
    Overload("bounded_set_intersects", ("LIST", "LIST"), "BOOL", functions.set_intersects),
    Overload("text_too_long", (), "BOOL", functions.text_too_long),
    Overload("list_too_long", (), "BOOL", functions.list_too_long),
)
"""What guarded trees call instead of CEL's own; see ``guards.py``."""


@lru_cache(maxsize=64)
def checker(items: frozenset[str]) -> Environment:
    """The environment that checks; ``items`` are the names of loops' items."""
    others = (ROOTS - {"run"}) | (RUN - INSTANTS) | items
    return new_environment(INSTANTS, others, (*_ARITHMETIC, *_COMPARISONS, *ADDED))


@lru_cache(maxsize=1)
def runner() -> Environment:
    """The environment that evaluates. It needs no variables: trees are checked, and what is bound is JSON."""
    return new_environment((), (), (*_ARITHMETIC, *ADDED, *BOUNDED))
