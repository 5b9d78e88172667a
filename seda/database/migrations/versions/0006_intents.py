"""What a person tells the API: receipts they may read, presence without a connection, onboarding.

`sql/0006/*.sql`, in the order of the file names.
"""

from alembic import op

from seda.database.migration_files import run_down, run_up

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_up(op, revision)


def downgrade() -> None:
    run_down(op, revision)
