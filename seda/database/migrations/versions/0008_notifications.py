"""Notifications: caps of toasts and pushes, and the outbox of pushes."""

from alembic import op

from seda.database.migration_files import run_down, run_up

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run_up(op, revision)


def downgrade() -> None:
    run_down(op, revision)
