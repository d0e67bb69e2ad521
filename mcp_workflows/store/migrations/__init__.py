"""Brings a database to the schema of this version, or says why this version must not touch it.

Migrations are additive within a major version, so that an older process may go on beside a newer one. Each writes into
``compatibility`` the oldest schema whose program still works with the result; a newer database than that is refused.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from mcp_workflows.errors import SettingsInvalid

SCHEMA = 2
"""The number of the newest revision here: revision ids are these numbers, written with four digits."""
SCRIPTS = Path(__file__).parent


def migrate(connection: Connection, name: str) -> None:
    """Runs what is missing, in ``connection``'s transaction. ``SettingsInvalid``: the database is too new for us."""
    present = schema_of(connection)
    if present > SCHEMA:
        _check_readable(connection, name)
    if present >= SCHEMA:
        return
    _upgrade(connection)


def schema_of(connection: Connection) -> int:
    """The schema number of the database; 0 for one without our tables."""
    if not inspect(connection).has_table("alembic_version"):
        return 0
    return int(connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or 0)


def _check_readable(connection: Connection, name: str) -> None:
    oldest, version = connection.execute(text("SELECT oldest_schema, oldest_version FROM compatibility")).one()
    if oldest > SCHEMA:
        raise SettingsInvalid(
            f"The database {name} was written by a newer mcp-workflows; the oldest version that still works with it is "
            f"{version}. Upgrade (pip install -U mcp-workflows), or set DATABASE_URL to another database."
        )


def _upgrade(connection: Connection) -> None:
    # Here and not above: it takes longer to import than all else in the store, and most starts have nothing to migrate.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
