"""Erasure that nothing undoes, export and deletion on request, and an audit log that is a chain."""

from alembic import op

from seda.database.migration_files import run_down, run_up

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    run_up(op, revision)


def downgrade() -> None:
    run_down(op, revision)
