"""Where a step stands in a run. A path is unique in its run and says by itself which lists it stands in.

A *list* is steps one after the other. The root list is ``""``; the others are named by what holds them: ``checks.credit`` (a
branch), ``route.when1`` (an arm), ``resize[3]`` (an item, an iteration), ``charge:on_error.else``, ``charge:compensate``. A
step's path is its list, ``.`` and its name. Names hold none of ``. [ :``.
"""

from __future__ import annotations

import re

_NUMBERS = re.compile(r"\[(\d+)\]")

COMPENSATE = ":compensate"
"""Leads from a step's path to that of its compensation."""
ON_ERROR = ":on_error"
"""Leads from a step's path to the lists that handle its failure."""


def parent_of(path: str) -> str:
    """What a path stands in: of a step its list, of an item, an iteration or a branch the block's path."""
    return path[: max(path.rfind("."), path.rfind("["), path.rfind(":"), 0)]


def step_in(list_path: str, name: str) -> str:
    """The path of the step ``name`` in a list."""
    return f"{list_path}.{name}" if list_path else name


def around(path: str) -> list[str]:
    """All that a path stands in, innermost first, without the root."""
    found: list[str] = []
    while path := parent_of(path):
        found.append(path)
    return found


def inside(path: str, outer: str) -> bool:
    """Whether ``path`` stands in what ``outer`` leads to."""
    return path.startswith(outer) and len(path) > len(outer) and path[len(outer)] in ".[:"


def place(path: str) -> list[str | int]:
    """To sort by: items and iterations by their numbers, everything else by its name."""
    parts = _NUMBERS.split(path)
    return [int(part) if position % 2 else part for position, part in enumerate(parts)]
