"""Real time: presence that processes hold, leaves that linger, and what tells the processes."""

from alembic import op

from seda.database.migration_files import run_down, run_up

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    run_up(op, revision)


def downgrade() -> None:
    run_down(op, revision, "0005/02_presence.sql")
