"""Linked accounts: states, attempts, imports, and what changed with them."""

from alembic import op

from seda.database.migration_files import run_down, run_up

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    run_up(op, revision)


def downgrade() -> None:
    run_down(op, revision)
