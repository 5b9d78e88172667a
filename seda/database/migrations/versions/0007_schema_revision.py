"""What the services ask before they call themselves ready: `sql/0007/*.sql`."""

from alembic import op

from seda.database.migration_files import run_up

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_up(op, revision)


def downgrade() -> None:
    op.execute("drop function seda.schema_revision()")
