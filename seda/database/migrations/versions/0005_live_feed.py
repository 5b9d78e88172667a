"""The live feed: what order and pages are made of, presence with its age, impressions in batches.

`sql/0005/*.sql`, in the order of the file names.
"""

from alembic import op

from seda.database.migration_files import run_down, run_up

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_up(op, revision)


def downgrade() -> None:
    run_down(op, revision)
