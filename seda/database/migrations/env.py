"""Alembic's entry point; the caller hands it a connection and the region."""

import pgvector.sqlalchemy  # noqa: F401  (makes the vector types known to reflection)
from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table="seda_alembic_version",
    version_table_schema="public",
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
