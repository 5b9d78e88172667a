"""Notifications: caps of toasts and pushes, and the outbox of pushes."""

from pathlib import Path

from alembic import op

revision = "0008"
down_revision = "0007"

_FOLDER = Path(__file__).parent.parent / "sql" / "0008"


def upgrade() -> None:
    cursor = op.get_bind().connection.cursor()
    for path in sorted(_FOLDER.glob("*.sql")):
        cursor.execute(path.read_text())


def downgrade() -> None:
    cursor = op.get_bind().connection.cursor()
    cursor.execute((_FOLDER / "down" / "down.sql").read_text())
