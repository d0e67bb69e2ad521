"""Standard output and standard error, as the person or the script at the other end can take them.

Results go to stdout, everything else to stderr. Without a terminal there are no colours, nothing moves, and lines are
not cut to a width that nobody looks at.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable
from io import TextIOWrapper
from typing import Any, Final

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment
from rich.theme import Theme

_WIDTH_WITHOUT_TERMINAL: Final = 140

_UNSEEN: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202d\u202e]")
"""What steers a terminal, but for tabs and line ends, and what turns the text after it around."""
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
    text = json.dumps(value, indent=2, ensure_ascii=False)
    sys.stdout.write(_UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")
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


class _Console(Console):
    """Shows what steers a terminal as what it is: data of a run shall not change what a person reads beside it."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=_UNSEEN.sub("�", segment.text))


def _console(*, stderr: bool) -> Console:
    file = sys.stderr if stderr else sys.stdout
    known = file.isatty() or "COLUMNS" in os.environ
    return _Console(
        stderr=stderr, theme=_THEME, highlight=False, emoji=False, width=None if known else _WIDTH_WITHOUT_TERMINAL
    )
