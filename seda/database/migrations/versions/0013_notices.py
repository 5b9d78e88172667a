"""Notices: what sensors of the pipeline have seen, once each."""

from alembic import op

from seda.database.migration_files import run_down, run_up

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    run_up(op, revision)


def downgrade() -> None:
    run_down(op, revision)
