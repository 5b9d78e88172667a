"""Runs the Alembic migrations, the same ones in every region."""

from pathlib import Path

import sqlalchemy
from alembic import command
from alembic.config import Config
from sqlalchemy.pool import NullPool

from seda.database.regions import Databases, RegionalDatabase

_FOLDER = Path(__file__).parent / "migrations"


def migrate(databases: Databases, revision: str = "head") -> None:
    """Bring both regional databases up to the revision."""
    for database in databases:
        upgrade(database, revision)


def upgrade(database: RegionalDatabase, revision: str = "head") -> None:
    """Upgrade one region's database; a second call does nothing."""
    _run(database, lambda config: command.upgrade(config, revision))


def downgrade(database: RegionalDatabase, revision: str) -> None:
    """Downgrade one region's database."""
    _run(database, lambda config: command.downgrade(config, revision))


def _run(database: RegionalDatabase, action) -> None:  # type: ignore[no-untyped-def]
    database.connect().close()  # a sentence, rather than a driver's traceback, when it is down
    engine = sqlalchemy.create_engine(database.url_for("psycopg"), poolclass=NullPool)
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    with engine.begin() as connection:
        # One migration at a time: several processes may start together.
        connection.exec_driver_sql("select pg_advisory_xact_lock(hashtext('seda.migrate'))")
        config.attributes.update(connection=connection, region=str(database.region))
        action(config)
    engine.dispose()
