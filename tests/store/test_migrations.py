"""Migrations: run once, whoever starts at the same time, with older processes that go on recording meanwhile and afterwards."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
import shutil
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mcp_workflows.store import migrations, postgres
from tests.mortal import mortal
from tests.store.conftest import OpenStore
from tests.store.material import done
from tests.store.raw import ask, postgres_connection
from tests.store.recording import BOUND, recording

pytestmark = pytest.mark.anyio

ONE_MORE = """
import sqlalchemy as sa
from alembic import op

revision = "{new:04}"
down_revision = "{old:04}"

def upgrade() -> None:
    op.add_column("step", sa.Column("note", sa.Text()))
    op.create_index("step_noted", "step", ["note"])
    op.create_table("remark", sa.Column("run", sa.BigInteger(), sa.ForeignKey("run.key"), primary_key=True))
"""


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """The migrations of this version, and one that only adds."""
    folder = tmp_path / "scripts"
    shutil.copytree(migrations.SCRIPTS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    text = ONE_MORE.format(new=migrations.SCHEMA + 1, old=migrations.SCHEMA)
    (folder / "versions" / "9999_one_more.py").write_text(text)
    return folder


@asynccontextmanager
async def newer(url: str, scripts: Path) -> AsyncGenerator[Process]:
    """A process of the next version."""
    child = await asyncio.create_subprocess_exec(
        *mortal(sys.executable, "-m", "tests.store.newer", url, scripts), stdout=PIPE, stderr=PIPE
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
            await child.communicate()


async def recorded(child: Process) -> str:
    """The run that it has recorded."""
    async with asyncio.timeout(BOUND):
        out, err = await child.communicate()
    assert child.returncode == 0, err.decode()
    return out.decode().strip()


async def test_an_older_node_goes_on_while_several_newer_ones_migrate_and_serve(
    open_store: OpenStore, url: str, scripts: Path
) -> None:
    async with open_store() as old:
        async with recording(old) as recorder, newer(url, scripts) as one, newer(url, scripts) as two:
            theirs = await asyncio.gather(recorded(one), recorded(two))
            await recorder.more()
        for run_id in theirs:
            assert await old.load_steps(run_id) == [done("new", 1)]
    assert ask(url, "SELECT version_num FROM alembic_version") == [(f"{migrations.SCHEMA + 1:04}",)]
    assert ask(url, "SELECT count(*) FROM step WHERE note IS NULL") != [(0,)]
    async with open_store() as again, recording(again, runs=2):  # the older version may even start
        pass


async def test_a_migration_that_waits_for_somebody_who_uses_the_tables_does_not_hold_up_older_nodes(
    open_store: OpenStore, url: str, scripts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if url.startswith("sqlite"):
        pytest.skip("there one writes at a time")
    async with open_store(lease_seconds=3 * postgres.MIGRATION_WAITS_SECONDS) as old:
        with postgres_connection(url) as somebody:
            somebody.execute("BEGIN")
            somebody.execute("LOCK TABLE step IN ACCESS SHARE MODE")  # as a long report does
            async with recording(old) as recorder, newer(url, scripts) as child:
                assert child.stderr is not None
                async with asyncio.timeout(BOUND):
                    while "a migration waits" not in (await child.stderr.readline()).decode():
                        pass
                await recorder.more()
                assert old.unwell is None
                somebody.execute("COMMIT")
                await recorded(child)
    assert ask(url, "SELECT version_num FROM alembic_version") == [(f"{migrations.SCHEMA + 1:04}",)]


async def test_a_low_statement_timeout_of_the_server_stops_neither_migrations_nor_nodes(
    open_store: OpenStore, url: str
) -> None:
    if url.startswith("sqlite"):
        pytest.skip("there is no server")
    with postgres_connection(url) as connection:
        name = connection.info.dbname
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        connection.execute(f"ALTER DATABASE {name} SET statement_timeout = 1".encode())
    async with open_store() as store, recording(store, runs=3):
        pass
