"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
INSTANT = sa.BigInteger()


def upgrade() -> None:
    _definitions_and_nodes()
    _runs()
    _steps()
    _inbox()
    _blobs_and_settings()
    compatibility = op.create_table(
        "compatibility",
        sa.Column("oldest_schema", sa.Integer, primary_key=True),
        sa.Column("oldest_version", TEXT, nullable=False),
    )
    op.bulk_insert(compatibility, [{"oldest_schema": 1, "oldest_version": "0.1.0"}])


def _definitions_and_nodes() -> None:
    op.create_table(
        "definition",
        sa.Column("id", KEY, primary_key=True),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("content", TEXT, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.UniqueConstraint("name", "version"),
        sa.UniqueConstraint("name", "digest"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "node",
        sa.Column("node_id", TEXT, primary_key=True),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("started_at", INSTANT, nullable=False),
        sa.Column("beat", sa.BigInteger, nullable=False),
        sa.Column("beat_at", INSTANT, nullable=False),
        sa.Column("ended_at", INSTANT),
        sa.Column("crashed", sa.Boolean, nullable=False),
    )


def _runs() -> None:
    op.create_table(
        "run",
        sa.Column("key", KEY, primary_key=True),
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("workflow", TEXT, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("definition_id", KEY, sa.ForeignKey("definition.id"), nullable=False),
        sa.Column("actor", TEXT, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("idempotency_key", TEXT),
        sa.Column("join_key", TEXT),
        sa.Column("input", TEXT, nullable=False),
        sa.Column("parent_run_id", TEXT),
        sa.Column("parent_path", TEXT),
        sa.Column("parent_generation", sa.Integer),
        sa.Column("pins", TEXT),
        sa.Column("owner", TEXT, sa.ForeignKey("node.node_id")),
        sa.Column("claim_at", INSTANT),
        sa.Column("recoveries", sa.Integer, nullable=False),
        sa.Column("recovered_seq", sa.BigInteger, nullable=False),
        sa.Column("interrupted", sa.Boolean, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("output", TEXT),
        sa.Column("error", TEXT),
        sa.Column("compensation", TEXT),
        sa.Column("undone", TEXT),
        sa.Column("not_undone", TEXT),
        sa.Column("stopping", TEXT),
        sa.Column("ends_as", TEXT),
        sa.Column("corrections", TEXT),
        sa.Column("timeout_at", INSTANT),
        sa.Column("timeout_left", sa.Float),
        sa.Column("wake_at", INSTANT),
        sa.Column("waiting_for", TEXT),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("started_at", INSTANT),
        sa.Column("finished_at", INSTANT),
        sa.UniqueConstraint("run_id"),
        sa.CheckConstraint(
            "status IN ('pending', 'running', 'waiting', 'paused', 'compensating', 'completed', 'failed', 'cancelled', "
            "'compensated')",
            name="status_known",
        ),
        sqlite_autoincrement=True,
    )
    _index(
        "run_by_idempotency_key",
        "run",
        ["actor", "workflow", "idempotency_key"],
        "idempotency_key IS NOT NULL",
        unique=True,
    )
    _index("run_by_join_key", "run", ["join_key"], "join_key IS NOT NULL")
    _index("run_claimable", "run", ["claim_at"], "owner IS NULL AND claim_at IS NOT NULL")
    _index("run_by_owner", "run", ["owner"], "owner IS NOT NULL")
    op.create_index("run_by_status", "run", ["status", "key"])
    op.create_index("run_by_actor", "run", ["actor", "key"])
    _index("run_needs_input", "run", ["key"], "status = 'paused' OR waiting_for IS NOT NULL")


def _steps() -> None:
    op.create_table(
        "step",
        sa.Column("run", KEY, sa.ForeignKey("run.key", ondelete="CASCADE"), primary_key=True),
        sa.Column("parent", TEXT, primary_key=True),
        sa.Column("path", TEXT, primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("output", TEXT),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("corrected", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("attempts_before", sa.Integer, nullable=False),
        sa.Column("in_doubt", sa.Boolean, nullable=False),
        sa.Column("started_at", INSTANT),
        sa.Column("finished_at", INSTANT),
        sa.Column("undoable", sa.Boolean, nullable=False),
        sa.Column("error", TEXT),
        sa.Column("correction", TEXT),
        sa.Column("now", INSTANT),
        sa.Column("due_at", INSTANT),
        sa.Column("decision", TEXT),
        sa.CheckConstraint(
            "status IN ('pending', 'running', 'waiting', 'completed', 'failed', 'skipped', 'cancelled', 'in_doubt', "
            "'compensating', 'compensated')",
            name="status_known",
        ),
    )
    _index("step_undoable", "step", ["run"], "undoable")
    op.create_table(
        "attempt",
        sa.Column("run", KEY, sa.ForeignKey("run.key", ondelete="CASCADE"), primary_key=True),
        sa.Column("path", TEXT, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("error", TEXT, nullable=False),
        sa.Column("started_at", INSTANT, nullable=False),
        sa.Column("finished_at", INSTANT, nullable=False),
    )


def _inbox() -> None:
    op.create_table(
        "inbox",
        sa.Column("id", KEY, primary_key=True),
        sa.Column("run", KEY, sa.ForeignKey("run.key", ondelete="CASCADE"), nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("body", TEXT, nullable=False),
        sa.Column("actor", TEXT, nullable=False),
        sa.Column("reason", TEXT),
        sa.Column("dedupe_key", TEXT),
        sa.Column("received_at", INSTANT, nullable=False),
        sa.Column("consumed_at", INSTANT),
        sa.Column("kept", sa.Boolean, nullable=False),
        sa.UniqueConstraint("run", "dedupe_key"),
        sqlite_autoincrement=True,
    )
    _index("inbox_unconsumed", "inbox", ["run", "kept"], "consumed_at IS NULL")


def _blobs_and_settings() -> None:
    op.create_table(
        "blob",
        sa.Column("run", KEY, sa.ForeignKey("run.key", ondelete="CASCADE"), primary_key=True),
        sa.Column("blob_id", TEXT, primary_key=True),
        sa.Column("part", sa.Integer, primary_key=True),
        sa.Column("content_type", TEXT),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "setting",
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )


def _index(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)
