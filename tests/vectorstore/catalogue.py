"""A handful of artists, and a region's embeddings over the mock providers, for refreshes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

from pydantic import SecretStr

from seda.database.regions import Databases, Region, RegionalDatabase
from seda.embeddings.breaker import BreakerPolicy
from seda.embeddings.ledger import Rules
from seda.embeddings.routes import AnyEmbeddings, embeddings_of
from seda.settings import Settings
from tests.embeddings.mock_server import KEY, MockServer

NOW = datetime(2026, 11, 10, 3, tzinfo=UTC)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        # Every look is a moment later, so that the order of events is seen.
        self.now += timedelta(microseconds=1)
        return self.now

    def pass_time(self, **amount: float) -> None:
        self.now += timedelta(**amount)


def artist_id(number: int) -> UUID:
    return UUID(int=number + 1)


def add_artists(database: RegionalDatabase, numbers: range, word: str = "Artist") -> None:
    with database.transaction() as connection, connection.cursor() as cursor:
        cursor.executemany(
            "insert into seda.artists (id, name) values (%s, %s)",
            [(artist_id(number), f"{word} {number}") for number in numbers],
        )
        cursor.executemany(
            "insert into seda.artist_genres (artist_id, genre, weight) values (%s, %s, 1)",
            [(artist_id(number), f"genre {number % 3}") for number in numbers],
        )


def settings_of(mock: MockServer, home: Path, **more) -> Settings:
    """Both hosted providers and the EU's runner, all at the mock service."""
    keys = {"openai_api_key": SecretStr(KEY), "cohere_api_key": SecretStr(KEY), **more}
    return Settings(
        _env_file=None,
        home=home,
        openai_base_url=mock.openai_url,
        cohere_base_url=mock.cohere_url,
        eu_embedder_url=mock.runner_url,
        **keys,
    )


def embeddings(
    databases: Databases, settings: Settings, region: Region = Region.GLOBAL, **policy
) -> AnyEmbeddings:
    """The region's embeddings; batches are small and a breaker opens at the third failure."""
    with databases[region].transaction() as connection:
        found = embeddings_of(settings, region, connection)
    rules = Rules(
        replace(found.policy.rules.budget, cap_usd=policy.pop("cap_usd", Decimal(1500))),
        BreakerPolicy(minimum_calls=3, sustained=timedelta(0)),
    )
    fast = {"batch_size": 8, "total_seconds": 2.0, "first_backoff_seconds": 0.01, "concurrency": 2}
    return replace(found, policy=replace(found.policy, rules=rules, **{**fast, **policy}))
