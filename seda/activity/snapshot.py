"""A region as arrays: who is there, what can be recommended, and who played what.

Ids are mapped to positions here, once; everything after it works on positions. People are ordered
by bucket, so that a shard is a contiguous range of rows.
"""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import psycopg
from psycopg import sql
from scipy import sparse

from seda.activity import snapshot_queries as queries
from seda.database.copy import read_fixed
from seda.database.identifiers import IdIndex
from seda.database.regions import Region, RegionalDatabase, Shard
from seda.errors import SedaError

ENTITY_TYPES = ("room", "playlist", "artist")


class StalePositionsError(SedaError):
    """An intermediate result and the snapshot disagree on what a position means."""


@dataclass(frozen=True, eq=False)
class FromSnapshot:
    """A value whose rows and columns are positions of the snapshot with this version."""

    version: str
    value: Any


@dataclass(frozen=True, eq=False)
class EntitySnapshot:
    """The entities of one type, and what the region's people did with them.

    `ids` (items, 16) uint8; `plays` CSR (users, items) float32; `recent` the same plays, halved
    every 60 days before the region's newest period; `known` CSR (users, items) float32, stored
    where played, followed, joined or owned; `genres` CSR (items, genres) float32, rows summing
    to 1; `tags` the same genres with the weights as they are stored, which also tell how much is
    known of an item.
    """

    ids: np.ndarray
    plays: sparse.csr_matrix
    recent: sparse.csr_matrix
    known: sparse.csr_matrix
    genres: sparse.csr_matrix
    tags: sparse.csr_matrix


@dataclass(frozen=True, eq=False)
class RegionSnapshot:
    """One region at one moment; `version` changes when any position changes its meaning.

    `user_ids` (users, 16) uint8 and `user_buckets` (users,) int16, ordered by bucket; `served`
    (users,) bool: wants recommendations; `friends` CSR (users, users) float32 of this region's
    friendships without blocks; `genre_names` (genres,) str; `chosen_genres` CSR (users, genres):
    chosen at onboarding.
    """

    region: str
    version: str
    user_ids: np.ndarray
    user_buckets: np.ndarray
    served: np.ndarray
    friends: sparse.csr_matrix
    genre_names: np.ndarray
    chosen_genres: sparse.csr_matrix
    entities: dict[str, EntitySnapshot]

    def checked(self, derived: FromSnapshot, what: str) -> Any:
        """The derived value, or a refusal when its positions mean something else.

        Raises:
            StalePositionsError: it was computed from another population or catalogue.
        """
        if derived.version != self.version:
            raise StalePositionsError(
                f"{what} of the {self.region} region was computed from another snapshot: "
                "materialise it again after interaction_matrices."
            )
        return derived.value

    @property
    def user_keys(self) -> np.ndarray:
        """Stable numbers of people, int64 (users,): the last eight bytes of their ids."""
        return np.ascontiguousarray(self.user_ids[:, 8:]).view(np.int64).ravel()

    def rows_of(self, shard: Shard) -> slice:
        """The contiguous rows of a shard's people."""
        first, last = np.searchsorted(self.user_buckets, shard.buckets)
        return slice(int(first), int(last))


def load_snapshot(database: RegionalDatabase) -> RegionSnapshot:
    """Read the region in one repeatable-read transaction, by binary COPY."""
    with database.connect() as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        return _load(connection, database.region)


def _load(connection: psycopg.Connection, region: Region) -> RegionSnapshot:
    user_ids, buckets, served = read_fixed(
        connection,
        queries.PEOPLE,
        ["uuid", "int2", "bool"],
    )
    users = IdIndex(user_ids)
    genre_names = _genre_names(connection)
    items = {kind: IdIndex(_entity_ids(connection, kind)) for kind in ENTITY_TYPES}
    genres = {
        kind: _entity_genres(connection, kind, items[kind], genre_names) for kind in ENTITY_TYPES
    }
    entities = {}
    for kind in ENTITY_TYPES:
        indexes = (users, items[kind])
        plays, recent = pair_matrices(connection, queries.PLAYS[kind], indexes, values=2)
        known = plays
        if kind == "playlist":
            known = (plays + _matrix(connection, queries.OWNED_PLAYLISTS, indexes)).tocsr()
        entities[kind] = EntitySnapshot(items[kind].ids, plays, recent, known, *genres[kind])
    return RegionSnapshot(
        region=str(region),
        version=_version(user_ids, genre_names, *(items[kind].ids for kind in ENTITY_TYPES)),
        user_ids=user_ids,
        user_buckets=buckets,
        served=served,
        friends=_matrix(connection, queries.FRIENDS, (users, users)),
        genre_names=np.array(genre_names, dtype=str),
        chosen_genres=_chosen_genres(connection, users, genre_names),
        entities=entities,
    )


def _version(user_ids: np.ndarray, genre_names: list[str], *item_ids: np.ndarray) -> str:
    digest = blake2b(digest_size=16)
    for ids in (user_ids, *item_ids):
        digest.update(len(ids).to_bytes(8, "big"))
        digest.update(np.ascontiguousarray(ids).tobytes())
    digest.update("\x1f".join(genre_names).encode())
    return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Presence:
    """Friends who show themselves, by room: CSR (users, rooms) float32 each.

    `counts` of friends; `logs` sums of log(1 - attention), where a sighting's attention decays.
    """

    counts: sparse.csr_matrix
    logs: sparse.csr_matrix

    def rows(self, chosen: slice) -> "Presence":
        """Presence as some of the users see it."""
        return Presence(self.counts[chosen], self.logs[chosen])


def load_visible_presence(
    database: RegionalDatabase, snapshot: RegionSnapshot, *, attention: float, stale_after: float
) -> Presence:
    """The friends in each room now.

    `attention` is that of a friend who was just seen; it falls to 1/e in `stale_after` seconds.
    """
    users, rooms = IdIndex(snapshot.user_ids), IdIndex(snapshot.entities["room"].ids)
    query = queries.VISIBLE_PRESENCE.replace("{attention}", repr(float(attention))).replace(
        "{stale_after}", repr(float(stale_after))
    )
    with database.transaction() as connection:
        return Presence(*pair_matrices(connection, query, (users, rooms), values=2))


@dataclass(frozen=True, eq=False)
class Popularity:
    """Per item of one type, aligned to the snapshot, zero where nobody was there:
    `popularity`, `trending`, `recency`, each (items,) float32."""

    popularity: np.ndarray
    trending: np.ndarray
    recency: np.ndarray


def load_popularity(
    database: RegionalDatabase, snapshot: RegionSnapshot, entity_type: str
) -> Popularity:
    """The published popularity of one type's items."""
    items = IdIndex(snapshot.entities[entity_type].ids)
    with database.transaction() as connection:
        ids, *columns = read_fixed(
            connection,
            sql.SQL(
                "select entity_id, popularity::float4, trending::float4, recency::float4 "
                "from seda.entity_popularity where entity_type = {}"
            ).format(sql.Literal(entity_type)),
            ["uuid", "float4", "float4", "float4"],
        )
    positions = items.positions(ids)
    kept = positions >= 0
    aligned = [np.zeros(len(items.ids), np.float32) for _ in columns]
    for target, values in zip(aligned, columns, strict=True):
        target[positions[kept]] = values[kept]
    return Popularity(*aligned)


def load_suppressed(
    database: RegionalDatabase, snapshot: RegionSnapshot, entity_type: str
) -> sparse.csr_matrix:
    """Active suppressions of one type: CSR (users, items) float32."""
    return _per_user(database, snapshot, entity_type, queries.SUPPRESSED)


def load_recently_shown(
    database: RegionalDatabase, snapshot: RegionSnapshot, entity_type: str
) -> sparse.csr_matrix:
    """Impressions of the last 14 days (REC-4): CSR (users, items) float32."""
    return _per_user(database, snapshot, entity_type, queries.SHOWN_RECENTLY)


def _per_user(
    database: RegionalDatabase, snapshot: RegionSnapshot, entity_type: str, query: str
) -> sparse.csr_matrix:
    indexes = (IdIndex(snapshot.user_ids), IdIndex(snapshot.entities[entity_type].ids))
    with database.transaction() as connection:
        return _matrix(connection, query.replace("{kind}", entity_type), indexes)


def _matrix(
    connection: psycopg.Connection, query: str, indexes: tuple[IdIndex, IdIndex]
) -> sparse.csr_matrix:
    return pair_matrices(connection, query, indexes, values=1)[0]


def pair_matrices(
    connection: psycopg.Connection, query: str, indexes: tuple[IdIndex, IdIndex], *, values: int
) -> list[sparse.csr_matrix]:
    """A query of (row id, column id, float4 …) as CSR float32 matrices of one pattern.

    Rows that name an id outside the indexes (deleted meanwhile, in the other region) are left out.
    """
    row_ids, column_ids, *amounts = read_fixed(
        connection, query, ["uuid", "uuid", *["float4"] * values]
    )
    rows, columns = indexes[0].positions(row_ids), indexes[1].positions(column_ids)
    kept = np.flatnonzero((rows >= 0) & (columns >= 0))
    kept = kept[np.lexsort((columns[kept], rows[kept]))]
    counts = np.bincount(rows[kept], minlength=len(indexes[0].ids))
    indptr = np.concatenate([[0], np.cumsum(counts)])
    shape = (len(indexes[0].ids), len(indexes[1].ids))
    return [
        sparse.csr_matrix(
            (amount[kept].astype(np.float32), columns[kept].astype(np.int32), indptr), shape=shape
        )
        for amount in amounts
    ]


def _entity_ids(connection: psycopg.Connection, kind: str) -> np.ndarray:
    public = sql.SQL(" and visibility = 'public'") if kind == "playlist" else sql.SQL("")
    query = sql.SQL("select id from {} where deleted_at is null{} order by id").format(
        sql.Identifier("seda", f"{kind}s"), public
    )
    return read_fixed(connection, query, ["uuid"])[0]


def _genre_names(connection: psycopg.Connection) -> list[str]:
    rows = connection.execute(
        "select genre from seda.artist_genres union select genre from seda.rooms "
        "where genre is not null union select genre from seda.playlists where genre is not null "
        "order by genre"
    )
    return [name for (name,) in rows]


def _entity_genres(
    connection: psycopg.Connection, kind: str, items: IdIndex, genre_names: list[str]
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Shares of each item's genres, and their weights as they are stored."""
    source = {
        "artist": "select artist_id as id, genre, weight from seda.artist_genres",
        "room": "select id, genre, 1::float4 as weight from seda.rooms where genre is not null",
        "playlist": "select id, genre, 1::float4 as weight from seda.playlists "
        "where genre is not null",
    }[kind]
    query = sql.SQL(
        "select e.id, g.code::int4, e.weight from ({}) e join "
        "unnest({}::text[]) with ordinality as g(genre, code) on g.genre = e.genre"
    ).format(sql.SQL(source), sql.Literal(genre_names))
    ids, codes, weights = read_fixed(connection, query, ["uuid", "int4", "float4"])
    rows = items.positions(ids)
    kept = rows >= 0
    matrix = sparse.csr_matrix(
        (weights[kept].astype(np.float32), (rows[kept], codes[kept] - 1)),
        shape=(len(items.ids), len(genre_names)),
    )
    totals = np.asarray(matrix.sum(axis=1)).ravel()
    scale = sparse.diags_array(1 / np.where(totals > 0, totals, 1)).astype(np.float32)
    return (scale @ matrix).tocsr(), matrix


def _chosen_genres(
    connection: psycopg.Connection, users: IdIndex, genre_names: list[str]
) -> sparse.csr_matrix:
    query = sql.SQL(
        "select u.id, g.code::int4 from seda.users u, "
        "jsonb_array_elements_text(case jsonb_typeof(u.preferences -> 'genres') when 'array' "
        "then u.preferences -> 'genres' else '[]' end) as chosen(genre) join "
        "unnest({}::text[]) with ordinality as g(genre, code) on g.genre = chosen.genre"
    ).format(sql.Literal(genre_names))
    ids, codes = read_fixed(connection, query, ["uuid", "int4"])
    rows = users.positions(ids)
    kept = rows >= 0
    return sparse.csr_matrix(
        (np.ones(int(kept.sum()), np.float32), (rows[kept], codes[kept] - 1)),
        shape=(len(users.ids), len(genre_names)),
    )
