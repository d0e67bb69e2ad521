"""The schema: made by migrations, equal to the tables, and respected when it is newer than this version."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from mcp_workflows import __version__
from mcp_workflows.errors import SettingsInvalid, StoreUnavailable
from mcp_workflows.store import migrations, tables
from mcp_workflows.store.sqlite import Sqlite
from tests.store.conftest import OpenStore
from tests.store.material import begin

pytestmark = pytest.mark.anyio


@pytest.fixture
def raw(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """The file that ``open_store`` opens, as another program sees it."""
    connection = sqlite3.connect(tmp_path / "runs.db")
    yield connection
    connection.close()


def _shape(connection: sqlite3.Connection) -> set[tuple[str, str]]:
    """Every table and index, by name, with its text stripped of what does not matter."""
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name <> 'alembic_version'")
    return {(name, "".join(sql.split()).replace('"', "")) for name, sql in rows}


async def test_migrations_make_exactly_the_tables_that_the_code_knows(
    open_store: OpenStore, raw: sqlite3.Connection, tmp_path: Path
) -> None:
    async with open_store():
        migrated = _shape(raw)
    engine = create_engine(f"sqlite:///{tmp_path / 'made.db'}")
    tables.metadata.create_all(engine)
    engine.dispose()
    made = sqlite3.connect(tmp_path / "made.db")
    try:
        assert migrated == _shape(made)
    finally:
        made.close()


def test_the_newest_migration_is_the_schema_that_the_code_expects() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [f"{migrations.SCHEMA:04}"]


async def test_the_oldest_version_that_may_read_is_no_newer_than_this_one(
    open_store: OpenStore, raw: sqlite3.Connection
) -> None:
    async with open_store():
        [(schema, oldest)] = raw.execute("SELECT oldest_schema, oldest_version FROM compatibility").fetchall()
    assert schema <= migrations.SCHEMA
    assert [int(part) for part in oldest.split(".")] <= [int(part) for part in __version__.split(".")]


def _pretend(raw: sqlite3.Connection, schema: int, oldest_schema: int) -> None:
    raw.execute("UPDATE alembic_version SET version_num = ?", [f"{schema:04}"])
    raw.execute("UPDATE compatibility SET oldest_schema = ?, oldest_version = '7.1.0'", [oldest_schema])
    raw.commit()


async def test_a_database_too_new_is_refused_and_says_which_version_is_needed(
    open_store: OpenStore, raw: sqlite3.Connection
) -> None:
    async with open_store():
        pass
    _pretend(raw, migrations.SCHEMA + 5, migrations.SCHEMA + 3)
    with pytest.raises(SettingsInvalid, match=r"newer mcp-workflows.*still works with it is 7\.1\.0.*pip install -U"):
        async with open_store():
            pass


async def test_a_newer_database_that_still_allows_this_version_is_used(
    open_store: OpenStore, raw: sqlite3.Connection
) -> None:
    async with open_store():
        pass
    _pretend(raw, migrations.SCHEMA + 5, migrations.SCHEMA)
    async with open_store() as store:
        await begin(store)
    assert raw.execute("SELECT version_num FROM alembic_version").fetchall() == [(f"{migrations.SCHEMA + 5:04}",)]


async def test_a_migration_that_fails_leaves_nothing_behind(open_store: OpenStore, raw: sqlite3.Connection) -> None:
    raw.execute("CREATE TABLE inbox (of_another_program TEXT)")
    raw.commit()
    with pytest.raises(StoreUnavailable, match="already exists"):
        async with open_store():
            pass
    assert _shape(raw) == {("inbox", "CREATETABLEinbox(of_another_programTEXT)")}


def test_every_connection_is_durable_and_never_checkpoints_by_itself(tmp_path: Path) -> None:
    database = Sqlite(make_url(f"sqlite:///{tmp_path / 'runs.db'}"))
    database.prepare()
    connection = database.connect()
    try:
        settings = ("journal_mode", "synchronous", "foreign_keys", "wal_autocheckpoint", "fullfsync")
        found = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in settings}
    finally:
        connection.close()
    assert found == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "wal_autocheckpoint": 0,
        "fullfsync": 1,
    }
