"""The turns of phrase that refusals share: which name was meant, lists of names, what a value is."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`` Did you mean "x"?``, or nothing where no known name is near."""
    found = nearest(name, known)
    return f' Did you mean "{found}"?' if found else ""


def nearest(name: str, known: Iterable[str]) -> str | None:
    by_case = {one.casefold(): one for one in known}
    matches = difflib.get_close_matches(name[:64].casefold(), list(by_case), n=1, cutoff=0.6)
    return by_case[matches[0]] if matches else None


def listed(names: Iterable[str], last: str = "and") -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    words = list(names)
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def describe(value: object) -> str:
    """What kind of value it is, in JSON's words."""
    match value:
        case None:
            return "null"
        case bool():
            return f"{value}".lower()
        case int() | float():
            return f"{value}"
        case str():
            return f'"{value[:40]}…"' if len(value) > 40 else f'"{value}"'
        case list():
            return "a list"
        case _:
            return "a mapping"
