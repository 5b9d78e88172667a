"""Impressions are kept a page at a time; `impressions` is the view of their items."""

from pathlib import Path

from alembic import op

revision = "0011"
down_revision = "0010"

_FOLDER = Path(__file__).parent.parent / "sql" / "0011"
_REPLACED = ("0005/03_impressions.sql", "0010/03_live_lists.sql")


def upgrade() -> None:
    cursor = op.get_bind().connection.cursor()
    for path in sorted(_FOLDER.glob("*.sql")):
        cursor.execute(path.read_text())


def downgrade() -> None:
    cursor = op.get_bind().connection.cursor()
    cursor.execute((_FOLDER / "down" / "down.sql").read_text())
    for replaced in _REPLACED:
        cursor.execute((_FOLDER.parent / replaced).read_text())
