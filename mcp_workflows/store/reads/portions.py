"""Asking for many things a part at a time: a query has room for so many values only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

PORTION = 500
"""How many lists, and how many runs, one query asks for."""


def portions(of: Sequence[str]) -> Iterator[Sequence[str]]:
    return (of[start : start + PORTION] for start in range(0, len(of), PORTION))
