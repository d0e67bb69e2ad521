"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
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
        sa.Column("oldest_version", sa.Text, nullable=False),
    )
    op.bulk_insert(compatibility, [{"oldest_schema": 1, "oldest_version": "0.1.0"}])


def _definitions_and_nodes() -> None:
    op.create_table(
        "definition",
        sa.Column("id", KEY, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.UniqueConstraint("name", "version"),
        sa.UniqueConstraint("name", "digest"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "node",
        sa.Column("node_id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
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
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("workflow", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("definition_id", KEY, sa.ForeignKey("definition.id"), nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("idempotency_key", sa.Text),
        sa.Column("join_key", sa.Text),
        sa.Column("input", sa.Text, nullable=False),
        sa.Column("parent_run_id", sa.Text),
        sa.Column("parent_path", sa.Text),
        sa.Column("parent_generation", sa.Integer),
        sa.Column("pins", sa.Text),
        sa.Column("owner", sa.Text, sa.ForeignKey("node.node_id")),
        sa.Column("claim_at", INSTANT),
        sa.Column("recoveries", sa.Integer, nullable=False),
        sa.Column("recovered_seq", sa.BigInteger, nullable=False),
        sa.Column("interrupted", sa.Boolean, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("output", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("compensation", sa.Text),
        sa.Column("undone", sa.Text),
        sa.Column("not_undone", sa.Text),
        sa.Column("stopping", sa.Text),
        sa.Column("ends_as", sa.Text),
        sa.Column("corrections", sa.Text),
        sa.Column("timeout_at", INSTANT),
        sa.Column("timeout_left", sa.Float),
        sa.Column("wake_at", INSTANT),
        sa.Column("waiting_for", sa.Text),
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
        sa.Column("parent", sa.Text, primary_key=True),
        sa.Column("path", sa.Text, primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("output", sa.Text),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("corrected", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("attempts_before", sa.Integer, nullable=False),
        sa.Column("in_doubt", sa.Boolean, nullable=False),
        sa.Column("started_at", INSTANT),
        sa.Column("finished_at", INSTANT),
        sa.Column("undoable", sa.Boolean, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("correction", sa.Text),
        sa.Column("now", INSTANT),
        sa.Column("due_at", INSTANT),
        sa.Column("decision", sa.Text),
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
        sa.Column("path", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("started_at", INSTANT, nullable=False),
        sa.Column("finished_at", INSTANT, nullable=False),
    )


def _inbox() -> None:
    op.create_table(
        "inbox",
        sa.Column("id", KEY, primary_key=True),
        sa.Column("run", KEY, sa.ForeignKey("run.key", ondelete="CASCADE"), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("dedupe_key", sa.Text),
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
        sa.Column("blob_id", sa.Text, primary_key=True),
        sa.Column("part", sa.Integer, primary_key=True),
        sa.Column("content_type", sa.Text),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "setting",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )


def _index(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)
