"""Which name an author may have meant, and other turns of phrase that refusals share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`` Did you mean "x"?``, or nothing where no known name is near."""
    found = nearest(name, known)
    return f' Did you mean "{found}"?' if found else ""


def nearest(name: str, known: Iterable[str]) -> str | None:
    matches = difflib.get_close_matches(name[:64], list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def listed(names: Iterable[str], last: str = "and") -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    words = list(names)
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"
