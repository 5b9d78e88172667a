"""Functions that every page calls keep their plans."""

from alembic import op

from seda.database.migration_files import run_down, run_up

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    run_up(op, revision)


def downgrade() -> None:
    run_down(op, revision)
