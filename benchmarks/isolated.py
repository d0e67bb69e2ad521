"""What is measured in a process of its own: started, bounded in time, and gone afterwards with everything it started."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from typing import Any

NESTED = "BENCH_ISOLATED"
"""Set in the environment of what runs isolated already."""


class Failed(Exception):
    """The process failed or took too long; the message ends with the last lines that it wrote."""


def isolated(module: str, *arguments: object, seconds: float = 600.0, killed: bool = False) -> Any:
    """What ``python -m benchmarks.<module> <arguments>`` writes to its stdout, as JSON. ``killed``: it ends by ``kill -9``.

    Raises ``Failed``.
    """
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    outermost = NESTED not in os.environ
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=outermost,
        env={**os.environ, NESTED: "1"},
    )  # fmt: skip
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        _end(process, outermost=outermost)
        raise Failed(f"took longer than {seconds:.0f} s: {_last(process.communicate()[1])}") from None
    finally:
        _end(process, outermost=outermost)
    if process.returncode != (-signal.SIGKILL if killed else 0):
        raise Failed(f"ended with {process.returncode}: {_last(errors)}")
    return None if killed else json.loads(output)


def _end(process: subprocess.Popen[str], *, outermost: bool) -> None:
    """The outermost leads a group of processes, in which are all that it has started, whoever of them still lives."""
    with contextlib.suppress(ProcessLookupError):
        if outermost:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _last(text: str, lines: int = 5, characters: int = 600) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])[-characters:]
