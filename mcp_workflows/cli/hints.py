"""Commands that a person is told to type next: they must find the same runs that this one did."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path


def same_place(definitions: Sequence[Path] | None, database: str | None) -> str:
    """What to add to a command so that it finds the same database: `` --database x.db``, or nothing.

    Only what was said on the command line: variables of the environment hold for the next command too.
    """
    if database is not None:
        return f" --database {shlex.quote(database)}"
    return "".join(f" --definitions {shlex.quote(str(path))}" for path in definitions or ())


def serve_command(definitions: Sequence[Path] | None, database: str | None) -> str:
    """What serves these definitions from this database."""
    given = [*map(str, definitions or ()), *(["--database", database] if database is not None else [])]
    return shlex.join(["mcp-workflows", "serve", *given])
