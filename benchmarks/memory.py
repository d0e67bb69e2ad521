"""What this process takes of the memory."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def resident(which: Literal["VmRSS", "VmHWM"] = "VmRSS") -> float:
    """MiB: now, or at the highest. Linux only; ``getrusage`` would tell of the process that started this one, too."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text("ascii").splitlines())
    return int(status[which].split()[0]) / 1024


def installed() -> float:
    """GiB of the machine."""
    line = Path("/proc/meminfo").read_text("ascii").splitlines()[0]
    return int(line.split()[1]) / 1024**2
