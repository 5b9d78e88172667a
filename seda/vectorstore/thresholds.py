"""When a region's vectors outgrow Postgres: the three thresholds of VEC-3, as values."""

from dataclasses import dataclass
from typing import Final

import psycopg

MOST_VECTORS: Final = 500_000
SLOWEST_P95_MS: Final = 120.0
MOST_QUERIES_PER_SECOND: Final = 200.0


@dataclass(frozen=True, slots=True)
class Threshold:
    """One measure, its limit, and what it says; None where nothing was measured yet."""

    name: str
    value: float | None
    limit: float

    @property
    def is_reached(self) -> bool:
        """Whether it is time to move."""
        return self.value is not None and self.value > self.limit


def thresholds(
    *, vectors: int, p95_ms: float | None, queries_per_second: float | None
) -> list[Threshold]:
    """Of one index: its size, the P95 of an unfiltered search, and how often it is searched."""
    return [
        Threshold("vectors", float(vectors), MOST_VECTORS),
        Threshold("p95_ms", p95_ms, SLOWEST_P95_MS),
        Threshold("queries_per_second", queries_per_second, MOST_QUERIES_PER_SECOND),
    ]


def index_scans(connection: psycopg.Connection, entity: str) -> int:
    """How often an entity's indexes were searched since the server's statistics began."""
    row = connection.execute(
        "select coalesce(sum(idx_scan), 0) from pg_stat_user_indexes "
        "where schemaname = 'seda' and starts_with(indexrelname, %s)",
        [f"hnsw_{entity}_"],
    ).fetchone()
    return int(row[0]) if row else 0
