"""Canaries: experiments, arms of generations, and reads that take the arm of the person."""

from alembic import op

from seda.database.migration_files import run_down, run_up

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    run_up(op, revision)


def downgrade() -> None:
    run_down(op, revision, "0011/03_live_lists.sql")
