"""What the demo says while it goes: short lines, each with who is speaking."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from mcp_workflows.samples.calls import Call

_VOICES: Final = {"agent": "magenta", "server": "blue", "services": "cyan", "SIGKILL": "bold red"}
_WIDTH: Final = 9


class Narrator:
    """Writes to ``console``; with ``quiet`` it says nothing."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet
        self._told: set[int] = set()

    def act(self, title: str) -> None:
        """A new part begins."""
        if not self._quiet:
            self._console.print()
            self._console.print(Rule(Text(title, "bold"), align="left", style="dim"))
            self._console.print()

    def say(self, voice: str, text: str, remark: str = "") -> None:
        """One line. ``remark`` is set off from the rest."""
        self._print(voice, _VOICES.get(voice, "dim"), Text.assemble(text, (f"  {remark}" if remark else "", "dim")))

    def value(self, voice: str, text: str, value: Any) -> None:
        """One line that ends with JSON."""
        self.say(voice, f"{text} {json.dumps(value, ensure_ascii=False)}")

    def show(self, renderable: Any) -> None:
        if not self._quiet:
            self._console.print(renderable)

    def calls(self, calls: Sequence[Call]) -> None:
        """Tells each call once: when it has ended, or when it is kept waiting."""
        for call in calls:
            if call.number not in self._told and (not call.open or (call.effect and call.fault)):
                self._told.add(call.number)
                self._print(call.service, _VOICES["services"], _of_call(call))

    def _print(self, voice: str, style: str, text: Text) -> None:
        if self._quiet:
            return
        speaker = Text(f"{voice:>{_WIDTH}}", style)
        if self._console.is_terminal:
            line = Table.grid(padding=(0, 2, 0, 0))
            line.add_row(speaker, text)
            self._console.print(line)
        else:
            self._console.print(Text.assemble(speaker, "  ", text), soft_wrap=True)


def _of_call(call: Call) -> Text:
    line = Text.assemble(("← ", "dim"), f"{call.method} {call.path}  ")
    if call.open:
        line.append("did it, and has not answered yet", "yellow")
    elif call.status is None:
        line.append(call.fault or "was left without a caller", "yellow")
    elif call.status >= 400:
        line.append(f"answered {call.status}", "yellow")
    else:
        line.append(f"answered {call.status}", "green")
    if call.status is not None and call.status < 400 and call.fault:
        line.append(f"  {call.fault}", "dim")
    if call.replayed:
        line.append("  known key: first answer again, nothing done twice", "dim")
    return line
