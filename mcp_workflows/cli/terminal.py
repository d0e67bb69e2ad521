"""Standard output and standard error, as the person or the script at the other end can take them.

Results go to stdout, everything else to stderr. Without a terminal there are no colours, nothing moves, and lines are
not cut to a width that nobody looks at.
"""

from __future__ import annotations

import json
import os
import sys
from io import TextIOWrapper
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.theme import Theme

_WIDTH_WITHOUT_TERMINAL: Final = 140

_THEME: Final = Theme(
    {
        "good": "green",
        "bad": "red",
        "doubt": "yellow",
        "dim": "bright_black",
        "busy": "cyan",
        "name": "bold",
        "id": "cyan",
    }
)


def stdout() -> Console:
    """For results."""
    return _console(stderr=False)


def stderr() -> Console:
    """For everything that is not the result: progress, remarks, complaints."""
    return _console(stderr=True)


def print_json(value: Any) -> None:
    """One JSON document on stdout; the same bytes with and without a terminal."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def complain(message: str) -> None:
    """Tells the caller what is wrong, the first line marked."""
    first, _, rest = message.partition("\n")
    console = stderr()
    console.print(f"[bad]error:[/] {escape(first)}", soft_wrap=True)
    if rest:
        console.print(escape(rest), soft_wrap=True)


def remark(message: str) -> None:
    """Something worth knowing that is not the result. Markup is understood."""
    stderr().print(message, soft_wrap=True)


def tolerate_any_encoding() -> None:
    """A terminal that lacks a character shows a question mark instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def _console(*, stderr: bool) -> Console:
    file = sys.stderr if stderr else sys.stdout
    known = file.isatty() or "COLUMNS" in os.environ
    return Console(
        stderr=stderr, theme=_THEME, highlight=False, emoji=False, width=None if known else _WIDTH_WITHOUT_TERMINAL
    )
