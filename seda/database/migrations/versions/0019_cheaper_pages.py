"""What a page asks of the database and what it records cost less."""

from alembic import op

from seda.database.migration_files import run_down, run_up

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    run_up(op, revision)


def downgrade() -> None:
    run_down(
        op,
        revision,
        "0011/03_live_lists.sql",
        "0012/03_live_lists.sql",
        "0017/01_generic_plans.sql",
    )
