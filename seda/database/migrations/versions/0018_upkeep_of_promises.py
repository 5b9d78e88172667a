"""An audit log whose end cannot be cut unseen, residency on every table, links our vault locks."""

from alembic import op

from seda.database.migration_files import run_down, run_up

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    run_up(op, revision)


def downgrade() -> None:
    run_down(op, revision)
