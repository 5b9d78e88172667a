"""A page reads the newest of what was shown, and no more of the day."""

from alembic import op

from seda.database.migration_files import run_down, run_up

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    run_up(op, revision)


def downgrade() -> None:
    run_down(op, revision)
