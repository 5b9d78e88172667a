"""Embeddings by providers: ledger, breakers, waiting texts, catalogue changes."""

from alembic import op

from seda.database.migration_files import run_down, run_up

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_up(op, revision)


def downgrade() -> None:
    run_down(op, revision)
