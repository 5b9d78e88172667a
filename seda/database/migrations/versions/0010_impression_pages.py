"""Impressions are kept a page at a time; `impressions` is the view of their items."""

from alembic import op

from seda.database.migration_files import run_down, run_up

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    run_up(op, revision)


def downgrade() -> None:
    run_down(op, revision, "0005/03_impressions.sql")
