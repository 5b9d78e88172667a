"""Opens a region's vector store as its settings have it: Postgres, with Qdrant beside it or not."""

import random
from datetime import UTC, datetime

from seda.database.regions import Region, RegionalDatabase
from seda.settings import Settings
from seda.vectorstore.facts import catalogue_facts
from seda.vectorstore.migrating import MigratingStore
from seda.vectorstore.pgvector import PgVectorStore


def has_second_store(settings: Settings, region: Region) -> bool:
    """Whether a Qdrant is configured for the region."""
    return bool(settings.eu_qdrant_url if region is Region.EU else settings.qdrant_url)


def open_second_store(settings: Settings, database: RegionalDatabase) -> MigratingStore:
    """Postgres and the region's Qdrant, each entity's route deciding between them.

    Raises:
        QdrantSettingError: no Qdrant is configured, or both regions have the same.
    """
    # Its client costs most of a second, which only those who have one should pay.
    from seda.vectorstore.qdrant import qdrant_store

    second = qdrant_store(settings, database.region, catalogue_facts(database))
    return MigratingStore(
        database,
        PgVectorStore(database),
        second,
        draw=random.random,
        now=lambda: datetime.now(UTC),
    )


def open_store(settings: Settings, database: RegionalDatabase) -> PgVectorStore | MigratingStore:
    """The store that the region's searches go to."""
    if has_second_store(settings, database.region):
        return open_second_store(settings, database)
    return PgVectorStore(database)
