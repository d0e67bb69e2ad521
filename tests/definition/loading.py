"""Small definitions for tests, and what the loader says of them."""

from __future__ import annotations

from textwrap import dedent

from mcp_workflows.definition.loader import load_text
from mcp_workflows.definition.program import Definition
from mcp_workflows.errors import DefinitionInvalid

HEAD = "name: a\ndescription: Does something that an agent may want.\n"
"""The first two lines of most files here, so that their own text begins at line 3."""


def text_of(body: str, *, head: str = HEAD) -> str:
    return head + dedent(body).lstrip("\n")


def load(body: str, *, head: str = HEAD, source: str = "a.yaml") -> Definition:
    return load_text(text_of(body, head=head), source)


def refusals(body: str, *, head: str = HEAD, source: str = "a.yaml") -> list[str]:
    """Every problem of the file as a line, without the file's name; nothing if it is good."""
    try:
        load(body, head=head, source=source)
    except DefinitionInvalid as invalid:
        return [str(problem).removeprefix(f"{source}:") for problem in invalid.problems]
    return []
