"""The SQL of migrations: a folder each, run in the order of its files' names."""

from pathlib import Path
from types import ModuleType

_SQL = Path(__file__).parent / "migrations" / "sql"


def run_up(op: ModuleType, revision: str) -> None:
    """Run the migration's files; `op` is Alembic's."""
    _run(op, sorted((_SQL / revision).glob("*.sql")))


def run_down(op: ModuleType, revision: str, *again: str) -> None:
    """Run its way down, then these files of earlier migrations, whose functions it had replaced."""
    _run(op, [_SQL / revision / "down" / "down.sql", *(_SQL / each for each in again)])


def _run(op: ModuleType, paths: list[Path]) -> None:
    cursor = op.get_bind().connection.cursor()
    for path in paths:
        cursor.execute(path.read_text())
