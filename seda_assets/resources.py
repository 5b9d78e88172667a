"""What assets reach the outside with: databases, storages, embedders and the clock, by region."""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import cached_property

from seda.database.regions import Databases, Region, RegionalDatabase, Shard, shards_of
from seda.database.storage import RegionalStorage, storages
from seda.embeddings.routes import AnyEmbeddings, embeddings_of
from seda.embeddings.spaces import EmbeddingSpace
from seda.links.connector import Connector, Provider
from seda.links.opening import open_connectors
from seda.privacy.vault import Vault, open_vault
from seda.settings import Settings
from seda.vectorstore.migrating import MigratingStore
from seda.vectorstore.opening import has_second_store, open_second_store


class Platform:
    """One object per process; tests build it with other settings and another clock."""

    def __init__(self, settings: Settings | None = None, *, now: datetime | None = None) -> None:
        self.settings = settings or Settings()
        self._now = now

    @cached_property
    def databases(self) -> Databases:
        return Databases(self.settings)

    @cached_property
    def storages(self) -> dict[Region, RegionalStorage]:
        return storages(self.settings)

    @cached_property
    def shards(self) -> dict[str, Shard]:
        """Every shard by its partition key."""
        return {shard.key: shard for shard in shards_of(self.settings)}

    def shards_by_region(self, keys: Sequence[str]) -> dict[Region, list[Shard]]:
        """The shards of these partition keys, region by region, so that each loads once."""
        chosen = [self.shards[key] for key in keys]
        return {
            region: mine
            for region in Region
            if (mine := [shard for shard in chosen if shard.region is region])
        }

    def embeddings(self, region: Region) -> AnyEmbeddings:
        """The region's providers, and its active space as the database has it now."""
        with self.databases[region].transaction() as connection:
            return embeddings_of(self.settings, region, connection)

    def active_space(self, region: Region) -> EmbeddingSpace:
        """The space in which the region's vectors are compared."""
        return self.embeddings(region).active

    @contextmanager
    def follower(self, database: RegionalDatabase) -> Iterator[MigratingStore | None]:
        """The second vector store that follows the region's Postgres, where one is configured."""
        if not has_second_store(self.settings, database.region):
            yield None
            return
        with closing(open_second_store(self.settings, database)) as store:
            yield store

    @cached_property
    def connectors(self) -> dict[Provider, Connector]:
        """The providers whose linked accounts can be read."""
        return open_connectors(self.settings)

    @cached_property
    def vault(self) -> Vault:
        """What seals and unseals tokens."""
        return open_vault(self.settings)

    @cached_property
    def worker(self) -> str:
        """This process's name in the ledger."""
        return f"{socket.gethostname()}:{os.getpid()}"

    def now(self) -> datetime:
        return self._now or datetime.now(UTC)


def use_fast_kernels() -> None:
    """Tell OpenBLAS about AVX-512 before numpy loads: it picks older kernels on some processors.

    Only where the processor has it: elsewhere it would crash.
    """
    try:
        with open("/proc/cpuinfo") as file:
            has_avx512 = any(line.startswith("flags") and "avx512f" in line for line in file)
    except OSError:
        return
    if has_avx512:
        os.environ.setdefault("OPENBLAS_CORETYPE", "SkylakeX")
