"""On what it was measured, and with which versions."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import subprocess
from datetime import date
from importlib.metadata import version

from benchmarks.memory import installed
from benchmarks.peers.restate_steps import server_program
from tests.postgres import programs

PACKAGES = ("aiohttp", "httpx2", "mcp", "uvloop", "dbos", "restate-sdk", "hypercorn")


def machine() -> dict[str, str]:
    """By what a reader asks for."""
    return {
        "machine": f"{os.cpu_count()} cores, {installed():.0f} GiB, {platform.system()} {platform.machine()}",
        "load before": f"{os.getloadavg()[0]:.1f}",
        "Python": platform.python_version(),
        "SQLite": f"{sqlite3.sqlite_version}, synchronous=FULL",
        "PostgreSQL": f"{_told(str(programs() / 'postgres'))}, the server's defaults",
        "Restate": _told(server_program()),
        **{name: version(name) for name in PACKAGES},
        "date": date.today().isoformat(),  # noqa: DTZ011
    }


def _told(program: str | None) -> str:
    """The version that the program tells, without its name."""
    if program is None or shutil.which(program) is None:
        return "not installed"
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    return told.strip().rpartition(" ")[2]
