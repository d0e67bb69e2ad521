"""The lock files of SQLite: held by a process, and by nothing that it leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from mcp_workflows.store.locks import FileLock

HOLDS_AND_FORKS = """
import os, sys
from pathlib import Path
from mcp_workflows.store.locks import FileLock

lock = FileLock(Path(sys.argv[1]))
lock.acquire()
if os.fork() == 0:
    os.close(1)
    os.read(0, 1)
    os._exit(0)
print("holds", flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not copied here")
def test_a_process_that_is_killed_lets_go_of_its_locks_though_a_copy_of_it_lives_on(tmp_path: Path) -> None:
    """As the workers of a pool of processes do, which a function of a step may have begun."""
    file = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS_AND_FORKS, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.read() == "holds\n"
        holder.wait()
        with closing(FileLock(file)) as lock:
            assert lock.try_acquire()
