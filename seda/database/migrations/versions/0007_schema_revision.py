"""What the services ask before they call themselves ready: `sql/0007/*.sql`."""

from pathlib import Path

from alembic import op

revision = "0007"
down_revision = "0006"

_FOLDER = Path(__file__).parent.parent / "sql" / "0007"


def upgrade() -> None:
    cursor = op.get_bind().connection.cursor()
    for path in sorted(_FOLDER.glob("*.sql")):
        cursor.execute(path.read_text())


def downgrade() -> None:
    op.execute("drop function seda.schema_revision()")
