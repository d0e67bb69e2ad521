"""Of a soak that is killed in the middle nothing goes on: no server, and no database."""

from __future__ import annotations

import asyncio
import os
import select
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from tests.mortal import SETPRIV
from tests.postgres import postgres_server
from tests.soak.cluster import slots

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(110)]


async def soak(folder: Path) -> None:
    """A server and a database, both up, and no end of it."""
    with postgres_server("fsync=off") as postgres:
        async with slots(folder, [{"DATABASE_URL": postgres.new_database()}]) as (slot,):
            await slot.serving()
            print(*slot.pids, (postgres.folder / "data/postmaster.pid").read_text().split()[0], flush=True)  # noqa: T201
            await asyncio.Event().wait()


@pytest.mark.skipif(SETPRIV is None, reason="there is no setpriv, which has servers end with their tests")
async def test_servers_end_with_the_process_of_the_tests(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "tests.soak.test_left_behind", tmp_path)
    tests = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    assert tests.stdout is not None
    pids = [int(pid) for pid in (await tests.stdout.readline()).split()]
    assert len(pids) == 2
    watched = [os.pidfd_open(pid) for pid in pids]
    tests.kill()
    await tests.wait()
    for gone in watched:
        assert await asyncio.to_thread(select.select, [gone], [], [], 60) == ([gone], [], [])
        os.close(gone)


if __name__ == "__main__":
    asyncio.run(soak(Path(sys.argv[1])))
