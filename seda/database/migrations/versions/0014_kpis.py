"""KPIs by day, what they need of every page that is shown, and latencies of vector search."""

from alembic import op

from seda.database.migration_files import run_down, run_up

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    run_up(op, revision)


def downgrade() -> None:
    run_down(op, revision, "0002/04_health.sql", "0012/04_record_impressions.sql")
