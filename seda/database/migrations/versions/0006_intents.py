"""What a person tells the API: receipts they may read, presence without a connection, onboarding.

`sql/0006/*.sql`, in the order of the file names.
"""

from pathlib import Path

from alembic import op

revision = "0006"
down_revision = "0005"

_FOLDER = Path(__file__).parent.parent / "sql" / "0006"


def upgrade() -> None:
    cursor = op.get_bind().connection.cursor()
    for path in sorted(_FOLDER.glob("*.sql")):
        cursor.execute(path.read_text())


def downgrade() -> None:
    cursor = op.get_bind().connection.cursor()
    cursor.execute((_FOLDER / "down" / "down.sql").read_text())
