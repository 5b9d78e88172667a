"""The durable lane of social events: where readers stand, and real-time rankings over lists."""

from pathlib import Path

from alembic import op

revision = "0010"
down_revision = "0009"

_FOLDER = Path(__file__).parent.parent / "sql" / "0010"


def upgrade() -> None:
    cursor = op.get_bind().connection.cursor()
    for path in sorted(_FOLDER.glob("*.sql")):
        cursor.execute(path.read_text())


def downgrade() -> None:
    cursor = op.get_bind().connection.cursor()
    cursor.execute((_FOLDER / "down" / "down.sql").read_text())
