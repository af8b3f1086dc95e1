"""What Alembic runs to apply migrations: on the connection that it is handed, within its transaction."""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"], version_table="sluicegate_version", transactional_ddl=True
)
with context.begin_transaction():
    context.run_migrations()
