"""Run by Alembic: the connection, and the transaction around all migrations, are the caller's."""

from __future__ import annotations

from alembic import context

from mcp_workflows.store import tables

context.configure(
    connection=context.config.attributes["connection"], target_metadata=tables.metadata, transactional_ddl=True
)
with context.begin_transaction():
    context.run_migrations()
