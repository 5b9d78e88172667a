"""Embeddings by providers: ledger, breakers, waiting texts, catalogue changes."""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"

_FOLDER = Path(__file__).parent.parent / "sql" / "0002"


def upgrade() -> None:
    cursor = op.get_bind().connection.cursor()
    for path in sorted(_FOLDER.glob("*.sql")):
        cursor.execute(path.read_text())


def downgrade() -> None:
    cursor = op.get_bind().connection.cursor()
    cursor.execute((_FOLDER / "down" / "down.sql").read_text())
