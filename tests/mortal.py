"""Servers that do not outlive their tests: whatever becomes of the process that started them, they end with it.

A test ends its servers itself. A process of tests that is killed, or interrupted in the middle of one, ends nothing; then the
kernel does.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

SETPRIV = shutil.which("setpriv")
"""Of util-linux; where it is not, servers can be left behind."""


def mortal(*command: str | Path, by: str = "KILL") -> Sequence[str | Path]:
    """``command``, for a process to which the signal ``by`` is sent once the *thread* that starts it has ended."""
    return command if SETPRIV is None else (SETPRIV, f"--pdeathsig={by}", "--", *command)
