"""What nodes say of themselves; and ways to find the children of a run, and the runs that finished long ago."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("node", sa.Column("report", TEXT))
    _index("run_by_parent", "parent_run_id", "parent_run_id IS NOT NULL")
    _index("run_finished", "finished_at", "finished_at IS NOT NULL AND parent_run_id IS NULL")


def _index(name: str, column: str, where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, "run", [column], sqlite_where=condition, postgresql_where=condition)
