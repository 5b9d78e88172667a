"""Regions, user shards, and which database and storage is whose.

A `RegionalDatabase` carries its region: no function takes a connection and a region separately, so
they cannot disagree.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from types import TracebackType
from typing import Any

import psycopg
from sqlalchemy import URL, make_url

from seda.database.embedded import EmbeddedServer
from seda.errors import SedaError
from seda.settings import Settings

BUCKETS = 64


class Region(StrEnum):
    """Where a person's data lives; the value stands in every `region` column."""

    GLOBAL = "global"
    EU = "eu"


class DatabaseUnreachableError(SedaError):
    """A configured database does not answer."""


@dataclass(frozen=True, order=True)
class Shard:
    """A contiguous range of a region's user buckets; `key` is its Dagster partition key."""

    region: Region
    index: int
    count: int

    @property
    def key(self) -> str:
        return f"{self.region}-{self.index:02d}"

    @property
    def buckets(self) -> tuple[int, int]:
        """First bucket, and the bucket after the last."""
        return (self.index * BUCKETS // self.count, (self.index + 1) * BUCKETS // self.count)


def shards_of(settings: Settings) -> tuple[Shard, ...]:
    """Every shard of both regions, in the order of the partition keys (contiguous by region)."""
    counts = {Region.EU: settings.eu_shards, Region.GLOBAL: settings.global_shards}
    return tuple(
        Shard(region, index, count) for region, count in counts.items() for index in range(count)
    )


class DiscreetConnection(psycopg.Connection[Any]):
    """A connection whose errors, outside of its block, say no values.

    To what failed Postgres adds the row that it refused, and the line that it read. An error that
    leaves the block is on its way into a log, or into Dagster's storage.
    """

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        if isinstance(exc_val, psycopg.Error) and exc_val.diag.message_primary:
            exc_val.args = (exc_val.diag.message_primary,)
        super().__exit__(exc_type, exc_val, exc_tb)


@dataclass(frozen=True)
class RegionalDatabase:
    """One region's database: libpq conninfo URLs for the pipelines and for the API's login."""

    region: Region
    url: str = field(repr=False)

    def connect(self, *, autocommit: bool = False, **options: Any) -> psycopg.Connection:
        """A new direct connection as the pipelines' owner role.

        Raises:
            DatabaseUnreachableError: nothing answers there.
        """
        try:
            return DiscreetConnection.connect(
                self.url, autocommit=autocommit, connect_timeout=5, **options
            )
        except psycopg.OperationalError as problem:
            raise DatabaseUnreachableError(
                f"The {self.region} database does not answer ({str(problem).splitlines()[0]}): "
                f"check {_VARIABLES[self.region]} and that the server is up."
            ) from problem

    @contextmanager
    def transaction(self) -> Iterator[psycopg.Connection]:
        """One transaction on a new connection, committed at the end or rolled back."""
        with self.connect() as connection:
            yield connection

    def url_for(self, driver: str) -> URL:
        """The SQLAlchemy URL with an explicit driver."""
        return make_url(self.url).set(drivername=f"postgresql+{driver}")


_VARIABLES = {Region.GLOBAL: "SEDA_DATABASE_URL", Region.EU: "SEDA_EU_DATABASE_URL"}


class Databases:
    """The two regional databases and Dagster's, embedded unless a URL is set."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def __getitem__(self, region: Region) -> RegionalDatabase:
        return self._regional[region]

    def __iter__(self) -> Iterator[RegionalDatabase]:
        return iter(self._regional.values())

    @cached_property
    def _regional(self) -> dict[Region, RegionalDatabase]:
        configured = {
            Region.GLOBAL: self.settings.database_url,
            Region.EU: self.settings.eu_database_url,
        }
        return {
            region: RegionalDatabase(
                region,
                libpq_url(secret.get_secret_value())
                if secret
                else self.embedded.uri(f"seda_{region}"),
            )
            for region, secret in configured.items()
        }

    @cached_property
    def embedded(self) -> EmbeddedServer:
        """The embedded server, started when first needed."""
        return EmbeddedServer(self.settings.home_directory() / "postgres")

    @cached_property
    def dagster_url(self) -> str:
        """SQLAlchemy URL for Dagster's storage; psycopg2 by name (its NOTIFY breaks psycopg 3)."""
        secret = self.settings.dagster_database_url
        url = secret.get_secret_value() if secret else self.embedded.uri("seda_dagster")
        named = make_url(libpq_url(url)).set(drivername="postgresql+psycopg2")
        return named.render_as_string(hide_password=False)

    def environment(self) -> dict[str, str]:
        """What a child process needs to use the same databases without starting a server."""
        return {
            "SEDA_DATABASE_URL": self[Region.GLOBAL].url,
            "SEDA_EU_DATABASE_URL": self[Region.EU].url,
            "SEDA_DAGSTER_DATABASE_URL": self.dagster_url,
        }

    def close(self) -> None:
        """Let go of the embedded server, if this process started it."""
        if "embedded" in self.__dict__:
            self.embedded.stop()


def libpq_url(url: str) -> str:
    """A URL that libpq reads, whatever SQLAlchemy driver the given one names."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def api_login_url(database: RegionalDatabase, settings: Settings) -> str:
    """The same database as the role `seda_api`, which has no rights of its own."""
    owner = make_url(database.url)
    # Built anew: URL.set(password=None) would keep the owner's password.
    login = URL.create(
        owner.drivername,
        "seda_api",
        settings.api_password.get_secret_value() if settings.api_password else None,
        owner.host,
        owner.port,
        owner.database,
        owner.query,
    )
    return login.render_as_string(hide_password=False)
