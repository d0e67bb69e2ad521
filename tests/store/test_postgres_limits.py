"""Servers at the end of what they have, of connections or of disk, and one that dies for good while another takes its place."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from mcp_workflows.clock import utc_now
from mcp_workflows.errors import StoreUnavailable
from mcp_workflows.store import Store
from tests.postgres import PostgresServer, older_programs, postgres_server, programs
from tests.store.material import begin
from tests.store.raw import ask
from tests.store.recording import recording, unwell

pytestmark = pytest.mark.anyio

ROOM, LEFT = 64 << 20, 2 << 20
"""Bytes of the small disk, and what is left of it when runs begin to fill it."""


@pytest.fixture(scope="module", params=[programs, older_programs], ids=["postgres", "postgres15"])
def bin_folder(request: pytest.FixtureRequest) -> Path:
    return request.param()


@pytest.fixture(scope="module")
def server(bin_folder: Path) -> Iterator[PostgresServer]:
    with postgres_server("fsync=off", "max_wal_senders=4", bin_folder=bin_folder) as server:
        yield server


@asynccontextmanager
async def opened(url: str, *, lease_seconds: float = 5.0) -> AsyncGenerator[Store]:
    async with Store.open(url, clock=utc_now, node_name="test", lease_seconds=lease_seconds) as store:
        yield store


@contextmanager
def all_connections(server: PostgresServer) -> Generator[None]:
    """Everything that a user may have is taken, and nodes have none left."""
    ended = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE application_name = 'mcp-workflows' AND state IS NOT NULL"
    )
    with server.connect() as control, ExitStack() as taken:
        while True:
            try:
                taken.enter_context(closing(server.connect()))
            except psycopg.OperationalError:
                if control.execute(ended).fetchone() == (0,):
                    break
        yield


async def test_a_server_without_a_connection_to_spare_is_waited_for(
    server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = server.new_database(template=server.template)
    async with opened(url, lease_seconds=1.0) as store:
        async with recording(store) as recorder:
            with all_connections(server):
                await unwell(store, "raise max_connections, or run fewer nodes")
                reads = [asyncio.create_task(store.load_run(run_id)) for run_id in recorder.runs]
                said = await asyncio.gather(*reads, return_exceptions=True)
                assert {type(answer) for answer in said} == {StoreUnavailable}
        assert store.unwell is None
    assert "can be used again" in caplog.records[-1].getMessage()


async def test_a_database_that_can_only_be_read_is_told_of_and_waited_for(server: PostgresServer) -> None:
    """As a standby is: new connections are asked for one that takes writes."""
    url = server.new_database(template=server.template)
    async with opened(url, lease_seconds=1.0) as store:
        async with recording(store):
            with server.connect() as control, read_only(control, url):
                control.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mcp-workflows'"
                )
                await unwell(store, "It can only be read: it may be a standby")
                with pytest.raises(StoreUnavailable, match="It can only be read"):
                    async with opened(url):
                        pass
        assert store.unwell is None


@contextmanager
def read_only(control: psycopg.Connection, url: str) -> Generator[None]:
    database = url.partition("?")[0].rpartition("/")[2]
    control.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on".encode())
    try:
        yield
    finally:
        control.execute(f"ALTER DATABASE {database} RESET default_transaction_read_only".encode())


@contextmanager
def small_disk(server: PostgresServer) -> Generator[Path]:
    """A file system of its own, for data alone: a server that cannot write its log any more stops altogether."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system: nothing is shown of a full disk on PostgreSQL")
    place = server.folder / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", place], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(
            f"no small file system can be mounted here ({mounted.stderr.strip()}): nothing is shown of a full disk"
        )
    try:
        shutil.chown(place, server.folder.owner())
        place.chmod(0o700)
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


async def test_on_a_full_disk_runs_wait_and_go_on_once_there_is_room(server: PostgresServer) -> None:
    with small_disk(server) as place:
        with server.connect() as connection:
            connection.execute(f"CREATE TABLESPACE small LOCATION '{place}'".encode())
            connection.execute(f"CREATE DATABASE full_disk TEMPLATE {server.template} TABLESPACE small".encode())
        ballast = place / "ballast"
        ballast.write_bytes(bytes(shutil.disk_usage(place).free - LEFT))
        async with opened(server.url("full_disk"), lease_seconds=1.0) as store:
            async with recording(store):
                await unwell(store, "The disk of the server is full: free some space")
                ballast.unlink()
            assert store.unwell is None
        with server.connect() as connection:
            connection.execute("DROP DATABASE full_disk WITH (FORCE)")
            connection.execute("DROP TABLESPACE small")


async def test_when_a_server_dies_for_good_its_synchronous_standby_goes_on_with_every_record(bin_folder: Path) -> None:
    options = ("fsync=off", "max_wal_senders=4", "wal_level=replica", "hot_standby=on")
    with postgres_server(*options, bin_folder=bin_folder) as first:
        name = first.url().partition("?")[0].rpartition("/")[0]
        url = first.new_database(template=first.template)
        database = url.partition("?")[0].rpartition("/")[2]
        with postgres_server(*options, bin_folder=bin_folder, copied_from=first) as second:
            with first.connect() as connection:
                connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
                connection.execute("SELECT pg_reload_conf()")
            both = f"{name}/{database}?host={first.folder},{second.folder}"
            async with opened(both) as store, recording(store) as recorder:
                await recorder.more()
                await asyncio.to_thread(first.stop, signal.SIGQUIT)
                assert await unwell(store)
                with second.connect() as connection:
                    connection.execute("SELECT pg_promote()")
                await recorder.more()
                await begin(store)
            assert ask(second.url(database), "SELECT count(*) > 0 FROM step") == [(True,)]
            first.start()  # so that there is something to stop
