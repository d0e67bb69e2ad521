"""Where the ``${…}`` of a text begin and end.

The end is found by CEL's own tokens, so a brace in a string, a comment or a map literal does no harm.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mcp_workflows.definition.expressions.failures import ExpressionInvalid

_TOKEN = re.compile(
    r"""
      //[^\n]*
    | (?:[bB]?[rR]|[rR][bB])(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"\n]*"|'[^'\n]*')
    | \"{3}(?:[^\\]|\\.)*?\"{3} | '{3}(?:[^\\]|\\.)*?'{3}
    | "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*'
    | `[^`\n]*`
    | [A-Za-z_][A-Za-z0-9_]*
    | .
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Inset:
    """The source of one expression, white space cut, and where in the text it begins."""

    source: str
    start: int


def split(text: str) -> list[str | Inset]:
    """The literal pieces and the expressions of ``text``, in order. ``$${`` is a literal ``${``."""
    pieces: list[str | Inset] = []
    literal: list[str] = []
    at = 0
    while (found := text.find("${", at)) >= 0:
        if found > at and text[found - 1] == "$":
            literal.append(text[at : found - 1] + "${")
            at = found + 2
            continue
        literal.append(text[at:found])
        if joined := "".join(literal):
            pieces.append(joined)
        literal.clear()
        end = _end(text, found)
        inner = text[found + 2 : end]
        pieces.append(Inset(inner.strip(), found + 2 + len(inner) - len(inner.lstrip())))
        at = end + 1
    literal.append(text[at:])
    if joined := "".join(literal):
        pieces.append(joined)
    return pieces


def _end(text: str, found: int) -> int:
    depth = 0
    for token in _TOKEN.finditer(text, found + 2):
        match token.group():
            case "{":
                depth += 1
            case "}":
                if depth == 0:
                    return token.start()
                depth -= 1
            case _:
                pass
    raise ExpressionInvalid(
        '"${" is not closed (if the text has " #", YAML took the rest as a comment: quote it)', found, found
    )
