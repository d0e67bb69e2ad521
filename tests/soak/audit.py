"""What the database itself writes down while servers write into it: who owned which run, and who recorded what of it.

Every transaction of a server begins by counting on its node's row, so triggers know whose transaction it is. Owners,
records and the ends of nodes are written down in it, and with it or not at all. On PostgreSQL transactions overlap: there the
order is that of their commits, which the server keeps; on SQLite it is that of the rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy.engine import make_url

from mcp_workflows.store import opening
from mcp_workflows.store.migrations import migrate
from mcp_workflows.store.postgres import connection_arguments

_COLUMNS = "what, run, path, status, generation, in_doubt, output, writer"
_STEP = "NEW.run, NEW.path, NEW.status, NEW.generation, NEW.in_doubt, NEW.output"

_SQLITE = f"""
CREATE TABLE audit_writer (node TEXT, beat INTEGER);
INSERT INTO audit_writer VALUES (NULL, NULL);
CREATE TABLE audit (
    id INTEGER PRIMARY KEY, what TEXT, run INTEGER, path TEXT, status TEXT, generation INTEGER, in_doubt INTEGER,
    output TEXT, writer TEXT, beat INTEGER, heard REAL, at REAL DEFAULT ((julianday('now') - 2440587.5) * 86400.0)
);
CREATE TABLE audit_heard (node TEXT PRIMARY KEY, at REAL);
CREATE TRIGGER audit_beat AFTER UPDATE OF beat ON node BEGIN
    UPDATE audit_writer SET node = NEW.node_id, beat = NEW.beat;
    INSERT OR REPLACE INTO audit_heard VALUES (NEW.node_id, (julianday('now') - 2440587.5) * 86400.0); END;
CREATE TRIGGER audit_late AFTER UPDATE OF beat ON node WHEN OLD.ended_at IS NOT NULL BEGIN
    INSERT INTO audit (what, path, writer, beat) VALUES ('late', NEW.node_id, NEW.node_id, NEW.beat); END;
CREATE TRIGGER audit_ended AFTER UPDATE OF ended_at ON node WHEN NEW.ended_at IS NOT NULL BEGIN
    INSERT INTO audit (what, path, writer, beat, heard) SELECT CASE WHEN NEW.crashed THEN 'crashed' ELSE 'left' END,
        NEW.node_id, node, beat, (SELECT at FROM audit_heard WHERE node = NEW.node_id) FROM audit_writer; END;
CREATE TRIGGER audit_step_new AFTER INSERT ON step BEGIN
    INSERT INTO audit ({_COLUMNS}, beat) SELECT 'step', {_STEP}, node, beat FROM audit_writer; END;
CREATE TRIGGER audit_step AFTER UPDATE ON step BEGIN
    INSERT INTO audit ({_COLUMNS}, beat) SELECT 'step', {_STEP}, node, beat FROM audit_writer; END;
CREATE TRIGGER audit_attempt AFTER INSERT ON attempt BEGIN
    INSERT INTO audit (what, run, path, writer, beat) SELECT 'attempt', NEW.run, NEW.path, node, beat FROM audit_writer; END;
CREATE TRIGGER audit_status AFTER UPDATE OF status ON run WHEN OLD.status <> NEW.status BEGIN
    INSERT INTO audit (what, run, status, writer, beat) SELECT 'status', NEW.key, NEW.status, node, beat FROM audit_writer; END;
CREATE TRIGGER audit_inbox AFTER UPDATE OF consumed_at ON inbox WHEN NEW.consumed_at IS NOT NULL BEGIN
    INSERT INTO audit (what, run, writer, beat) SELECT 'consumed', NEW.run, node, beat FROM audit_writer; END;
CREATE TRIGGER audit_begun AFTER INSERT ON run WHEN NEW.owner IS NOT NULL BEGIN
    INSERT INTO audit (what, run, path, writer, beat) SELECT 'owner', NEW.key, NEW.owner, node, beat FROM audit_writer; END;
CREATE TRIGGER audit_owner AFTER UPDATE OF owner ON run WHEN OLD.owner IS NOT NEW.owner BEGIN
    INSERT INTO audit (what, run, path, writer, beat) SELECT 'owner', NEW.key, NEW.owner, node, beat FROM audit_writer; END;
"""

_POSTGRES = f"""
CREATE TABLE audit (
    id bigserial PRIMARY KEY, what text, run bigint, path text, status text, generation int, in_doubt bool,
    output text, writer text DEFAULT nullif(current_setting('audit.writer', true), ''),
    heard xid, xid xid DEFAULT pg_current_xact_id()::xid
);
CREATE TABLE audit_heard (node text PRIMARY KEY, xid xid);
CREATE FUNCTION audit_beat() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM set_config('audit.writer', NEW.node_id, true);
INSERT INTO audit_heard VALUES (NEW.node_id, pg_current_xact_id()::xid)
    ON CONFLICT (node) DO UPDATE SET xid = excluded.xid;
RETURN NULL; END $$;
CREATE FUNCTION audit_late() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO audit (what, path) VALUES ('late', NEW.node_id); RETURN NULL; END $$;
CREATE FUNCTION audit_ended() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO audit (what, path, heard) SELECT CASE WHEN NEW.crashed THEN 'crashed' ELSE 'left' END, NEW.node_id,
    (SELECT xid FROM audit_heard WHERE node = NEW.node_id); RETURN NULL; END $$;
CREATE FUNCTION audit_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO audit (what, run, path, status, generation, in_doubt, output) VALUES ('step', {_STEP}); RETURN NULL; END $$;
CREATE FUNCTION audit_attempt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO audit (what, run, path) VALUES ('attempt', NEW.run, NEW.path); RETURN NULL; END $$;
CREATE FUNCTION audit_status() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO audit (what, run, status) VALUES ('status', NEW.key, NEW.status); RETURN NULL; END $$;
CREATE FUNCTION audit_inbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO audit (what, run) VALUES ('consumed', NEW.run); RETURN NULL; END $$;
CREATE FUNCTION audit_owner() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO audit (what, run, path) VALUES ('owner', NEW.key, NEW.owner); RETURN NULL; END $$;
CREATE TRIGGER audit_beat AFTER UPDATE OF beat ON node FOR EACH ROW EXECUTE FUNCTION audit_beat();
CREATE TRIGGER audit_late AFTER UPDATE OF beat ON node FOR EACH ROW
    WHEN (OLD.ended_at IS NOT NULL) EXECUTE FUNCTION audit_late();
CREATE TRIGGER audit_ended AFTER UPDATE OF ended_at ON node FOR EACH ROW
    WHEN (NEW.ended_at IS NOT NULL) EXECUTE FUNCTION audit_ended();
CREATE TRIGGER audit_step AFTER INSERT OR UPDATE ON step FOR EACH ROW EXECUTE FUNCTION audit_step();
CREATE TRIGGER audit_attempt AFTER INSERT ON attempt FOR EACH ROW EXECUTE FUNCTION audit_attempt();
CREATE TRIGGER audit_status AFTER UPDATE OF status ON run FOR EACH ROW
    WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION audit_status();
CREATE TRIGGER audit_inbox AFTER UPDATE OF consumed_at ON inbox FOR EACH ROW
    WHEN (NEW.consumed_at IS NOT NULL) EXECUTE FUNCTION audit_inbox();
CREATE TRIGGER audit_begun AFTER INSERT ON run FOR EACH ROW WHEN (NEW.owner IS NOT NULL) EXECUTE FUNCTION audit_owner();
CREATE TRIGGER audit_owner AFTER UPDATE OF owner ON run FOR EACH ROW
    WHEN (OLD.owner IS DISTINCT FROM NEW.owner) EXECUTE FUNCTION audit_owner();
"""

_READ_SQLITE = """
SELECT what, run, path, status, generation, in_doubt, output, writer, min(id) OVER (PARTITION BY writer, beat), at, heard
FROM audit ORDER BY run, id
"""
_READ_POSTGRES = """
SELECT what, run, path, status, generation, in_doubt, output, writer,
    extract(epoch FROM pg_xact_commit_timestamp(xid))::float8, extract(epoch FROM pg_xact_commit_timestamp(xid))::float8,
    extract(epoch FROM pg_xact_commit_timestamp(heard))::float8
FROM audit ORDER BY run, id
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """``path`` of an ``owner``: who owns the run from here on; of ``crashed``, ``left`` and ``late``, which are of no run:
    which node was ended, or has written after its end. ``at``: seconds since 1970; ``place``: in the order of commits, the
    same for all of one transaction; ``heard``: when the node that is ended had written last. They come run by run, in the
    order in which they were written.
    """

    what: str
    run: int | None
    path: str | None
    status: str | None
    generation: int | None
    in_doubt: bool | None
    output: str | None
    writer: str | None
    place: float
    at: float
    heard: float | None = None


class Base:
    """The database as a test reads it, beside any server."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._url = make_url(url)

    @property
    def is_file(self) -> bool:
        return self._url.drivername == "sqlite"

    @property
    def kind(self) -> str:
        return "file" if self.is_file else "postgresql"

    def prepare(self) -> None:
        """Makes the tables, and has the database write down from here on."""
        database = opening.database(self.url)
        database.prepare()
        with database.migrating() as connection:
            migrate(connection, "soak")
        if self.is_file:
            with closing(sqlite3.connect(str(self._url.database))) as connection:
                connection.executescript(_SQLITE)
        else:
            with self._postgres() as connection:
                connection.execute(_POSTGRES.encode())

    def read(self, sql: str) -> list[tuple[Any, ...]]:
        if self.is_file:
            with closing(sqlite3.connect(f"file:{self._url.database}?mode=ro", uri=True)) as connection:
                return connection.execute(sql).fetchall()
        with self._postgres() as connection:
            return connection.execute(sql.encode()).fetchall()

    def entries(self) -> Sequence[Entry]:
        return [Entry(*row) for row in self.read(_READ_SQLITE if self.is_file else _READ_POSTGRES)]

    def _postgres(self) -> psycopg.Connection[Any]:
        return psycopg.connect(**connection_arguments(self._url), autocommit=True)
