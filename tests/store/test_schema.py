"""The schema: made by migrations, equal to the tables, and respected when it is newer than this version."""

from __future__ import annotations

import re
from collections.abc import Callable
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
from tests.store.raw import ask

pytestmark = pytest.mark.anyio


def _shape(url: str) -> set[tuple[object, ...]]:
    """Every table, column, index and constraint, by its text stripped of what does not matter."""
    if url.startswith("sqlite"):
        rows = ask(url, "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name <> 'alembic_version'")
        return {(name, *_parts("".join(sql.split()).replace('"', ""))) for name, sql in rows}
    columns = ask(
        url,
        "SELECT table_name, column_name, data_type, is_nullable, column_default, collation_name FROM "
        "information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version'",
    )
    indexes = ask(url, "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'")
    constraints = ask(
        url,
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE connamespace = 'public'::regnamespace AND conrelid IS DISTINCT FROM to_regclass('alembic_version')",
    )
    return set(columns) | set(indexes) | set(constraints)


def _parts(sql: str) -> list[str]:
    """What stands between commas, in any order: a column that was added later stands at the end."""
    return sorted(re.split(r",(?![^(]*\))", sql.removesuffix(")")))


async def test_migrations_make_exactly_the_tables_that_the_code_knows(
    open_store: OpenStore, url: str, another_url: Callable[[], str]
) -> None:
    async with open_store():
        migrated = _shape(url)
    another = another_url()
    engine = create_engine(another)
    tables.metadata.create_all(engine)
    engine.dispose()
    assert len(migrated) > 10
    assert migrated == _shape(another)


def test_the_newest_migration_is_the_schema_that_the_code_expects() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [f"{migrations.SCHEMA:04}"]


async def test_the_oldest_version_that_may_read_is_no_newer_than_this_one(open_store: OpenStore, url: str) -> None:
    async with open_store():
        [(schema, oldest)] = ask(url, "SELECT oldest_schema, oldest_version FROM compatibility")
    assert schema <= migrations.SCHEMA
    assert [int(part) for part in oldest.split(".")] <= [int(part) for part in __version__.split(".")]


def _pretend(url: str, schema: int, oldest_schema: int) -> None:
    ask(url, "UPDATE alembic_version SET version_num = ?", [f"{schema:04}"])
    ask(url, "UPDATE compatibility SET oldest_schema = ?, oldest_version = '7.1.0'", [oldest_schema])


async def test_a_database_too_new_is_refused_and_says_which_version_is_needed(open_store: OpenStore, url: str) -> None:
    async with open_store():
        pass
    _pretend(url, migrations.SCHEMA + 5, migrations.SCHEMA + 3)
    with pytest.raises(SettingsInvalid, match=r"newer mcp-workflows.*still works with it is 7\.1\.0.*pip install -U"):
        async with open_store():
            pass


async def test_a_newer_database_that_still_allows_this_version_is_used(open_store: OpenStore, url: str) -> None:
    async with open_store():
        pass
    _pretend(url, migrations.SCHEMA + 5, migrations.SCHEMA)
    async with open_store() as store:
        await begin(store)
    assert ask(url, "SELECT version_num FROM alembic_version") == [(f"{migrations.SCHEMA + 5:04}",)]


async def test_a_migration_that_fails_leaves_nothing_behind(open_store: OpenStore, url: str) -> None:
    ask(url, "CREATE TABLE inbox (of_another_program TEXT)")
    with pytest.raises(StoreUnavailable, match="already exists"):
        async with open_store():
            pass
    assert {row[0] for row in _shape(url)} == {"inbox"}


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
