"""The durable lane of social events: where readers stand, and real-time rankings over lists."""

from alembic import op

from seda.database.migration_files import run_down, run_up

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    run_up(op, revision)


def downgrade() -> None:
    run_down(op, revision, "0005/04_live_lists.sql")
