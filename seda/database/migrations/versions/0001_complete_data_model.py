"""The complete data model: `sql/0001/*.sql`, in the order of the file names."""

from pathlib import Path

from alembic import context, op

revision = "0001"
down_revision = None

_FOLDER = Path(__file__).parent.parent / "sql" / "0001"


def upgrade() -> None:
    region = context.config.attributes["region"]
    cursor = op.get_bind().connection.cursor()
    for path in sorted(_FOLDER.glob("*.sql")):
        cursor.execute(path.read_text().replace("{region}", region))


def downgrade() -> None:
    # Roles and auth.uid() stay: they may be the hosting platform's own.
    op.execute("drop schema seda cascade")
