"""What a ranker read and what each term gave, as arrays beside a recommendation's context.

As JSON in the context they were most of what publishing wrote.
"""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("alter table seda.recommendations add signals real[], add contributions real[]")


def downgrade() -> None:
    op.execute("alter table seda.recommendations drop signals, drop contributions")
