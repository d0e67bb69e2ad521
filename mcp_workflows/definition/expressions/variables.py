"""What expressions may name, and what one expression was found to name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

RUN = frozenset({"run.id", "run.name", "run.version", "run.started_at", "run.now"})
"""The parts of ``run``: each is a root of its own, since an instant keeps its type only at the top."""

INSTANTS = frozenset({"run.started_at", "run.now"})

ROOTS = frozenset(
    {"input", "vars", "secrets", "steps", "run", "error", "result", "idempotency_key", "callback_url", "index", "state"}
)
"""The names the language gives a meaning; any other root is the name of a loop's item."""


@dataclass(frozen=True, slots=True)
class Variables:
    """The roots that exist at one place of a definition: some of ``ROOTS``, and names of items."""

    roots: frozenset[str]

    @classmethod
    def of(cls, *roots: str) -> Variables:
        return cls(frozenset(roots))

    def with_roots(self, roots: Iterable[str]) -> Variables:
        return Variables(self.roots.union(roots))

    @property
    def items(self) -> frozenset[str]:
        return self.roots - ROOTS - RUN


@dataclass(frozen=True, slots=True)
class Reference:
    """A chain of names that an expression reads, as far as it is constant: ``steps.a.?output.items[0]``."""

    path: tuple[str | int, ...]
    """``("steps", "a", "output", "items", 0)``"""
    optional: tuple[bool, ...]
    """For each element, whether its absence is provided for: ``.?x``, ``[?x]``, ``has(… .x)`` or inside ``get``."""
    offsets: tuple[int, ...]
    """For each element, where it stands: characters from the beginning of the expression's ``source``."""
