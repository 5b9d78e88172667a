"""A region as arrays: who is there, what can be recommended, and who played what.

Ids are mapped to positions here, once; everything after it works on positions. People are ordered
by bucket, so that a shard is a contiguous range of rows.
"""

from dataclasses import dataclass

import numpy as np
import psycopg
from psycopg import sql
from scipy import sparse

from seda.database.copy import read_fixed
from seda.database.identifiers import IdIndex
from seda.database.regions import Region, RegionalDatabase, Shard

ENTITY_TYPES = ("room", "playlist", "artist")
# A follow says as much as this many plays, so that a follow alone makes an artist known.
FOLLOW_PLAYS = 10.0


@dataclass(frozen=True, eq=False)
class EntitySnapshot:
    """The entities of one type, and what the region's people did with them.

    `ids` (items, 16) uint8; `plays` CSR (users, items) float32; `known` CSR (users, items) bool:
    played, followed, joined or owned; `genres` CSR (items, genres) float32, rows summing to 1.
    """

    ids: np.ndarray
    plays: sparse.csr_matrix
    known: sparse.csr_matrix
    genres: sparse.csr_matrix


@dataclass(frozen=True, eq=False)
class RegionSnapshot:
    """One region at one moment.

    `user_ids` (users, 16) uint8 and `user_buckets` (users,) int16, ordered by bucket; `served`
    (users,) bool: wants recommendations; `friends` CSR (users, users) float32 of this region's
    friendships without blocks; `genre_names` (genres,) str; `chosen_genres` CSR (users, genres):
    chosen at onboarding; `playlist_rows` CSR (playlists, artists): what a playlist contains.
    """

    region: str
    user_ids: np.ndarray
    user_buckets: np.ndarray
    served: np.ndarray
    friends: sparse.csr_matrix
    genre_names: np.ndarray
    chosen_genres: sparse.csr_matrix
    playlist_rows: sparse.csr_matrix
    entities: dict[str, EntitySnapshot]

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
        "select id, bucket, coalesce((privacy_settings ->> 'recommendations')::boolean, true) "
        "from seda.users where deleted_at is null order by bucket, id",
        ["uuid", "int2", "bool"],
    )
    users = IdIndex(user_ids)
    genre_names = _genre_names(connection)
    items = {kind: IdIndex(_entity_ids(connection, kind)) for kind in ENTITY_TYPES}
    genres = {
        kind: _entity_genres(connection, kind, items[kind], genre_names) for kind in ENTITY_TYPES
    }
    playlist_rows = _matrix(
        connection,
        "select playlist_id, artist_id, 1::float4 from seda.playlist_artists",
        (items["playlist"], items["artist"]),
    )
    entities = {}
    for kind in ENTITY_TYPES:
        plays = _matrix(connection, _PLAYS[kind], (users, items[kind]))
        known = plays.astype(bool)
        if kind == "playlist":
            known = known + _matrix(connection, _OWNED, (users, items[kind])).astype(bool)
        entities[kind] = EntitySnapshot(items[kind].ids, plays, known.tocsr(), genres[kind])
    return RegionSnapshot(
        region=str(region),
        user_ids=user_ids,
        user_buckets=buckets,
        served=served,
        friends=_matrix(connection, _FRIENDS, (users, users)),
        genre_names=np.array(genre_names, dtype=str),
        chosen_genres=_chosen_genres(connection, users, genre_names),
        playlist_rows=playlist_rows,
        entities=entities,
    )


def load_visible_presence(
    database: RegionalDatabase, snapshot: RegionSnapshot
) -> sparse.csr_matrix:
    """How many friends who show their presence are in each room now: CSR (users, rooms) float32."""
    users, rooms = IdIndex(snapshot.user_ids), IdIndex(snapshot.entities["room"].ids)
    with database.transaction() as connection:
        return _matrix(connection, _PRESENCE, (users, rooms))


def load_blocked(
    database: RegionalDatabase, snapshot: RegionSnapshot, entity_type: str
) -> sparse.csr_matrix:
    """Active suppressions of one type: CSR (users, items) float32."""
    return _per_user(database, snapshot, entity_type, _SUPPRESSED)


def load_recently_shown(
    database: RegionalDatabase, snapshot: RegionSnapshot, entity_type: str
) -> sparse.csr_matrix:
    """Impressions of the last 14 days (REC-4): CSR (users, items) float32."""
    return _per_user(database, snapshot, entity_type, _SHOWN)


def _per_user(
    database: RegionalDatabase, snapshot: RegionSnapshot, entity_type: str, query: str
) -> sparse.csr_matrix:
    indexes = (IdIndex(snapshot.user_ids), IdIndex(snapshot.entities[entity_type].ids))
    with database.transaction() as connection:
        return _matrix(connection, query.replace("{kind}", entity_type), indexes)


_PLAYS = {
    kind: f"""
    select user_id, entity_id, sum(amount)::float4 from (
        select user_id, entity_id, sum(plays)::float8 as amount from seda.activity_counts
        where entity_type = '{kind}' group by user_id, entity_id
        {also}
    ) each group by user_id, entity_id"""
    for kind, also in {
        "artist": f"union all select user_id, artist_id, {FOLLOW_PLAYS} from seda.artist_follows",
        "room": "union all select user_id, room_id, 1 from seda.room_members",
        "playlist": "",
    }.items()
}
_OWNED = (
    "select owner_user_id, id, 1::float4 from seda.playlists where owner_user_id is not null"
)
_UNBLOCKED = """
    f.relationship_type = 'friend' and not exists (
        select from seda.friends b where b.relationship_type = 'block'
          and ((b.user_id = f.user_id and b.friend_user_id = f.friend_user_id)
            or (b.user_id = f.friend_user_id and b.friend_user_id = f.user_id)))"""
_FRIENDS = f"select f.user_id, f.friend_user_id, 1::float4 from seda.friends f where {_UNBLOCKED}"
_PRESENCE = f"""
    select f.user_id, p.room_id, count(*)::float4
    from seda.room_presence p
    join seda.friends f on f.friend_user_id = p.user_id
    join seda.users u on u.id = p.user_id and u.deleted_at is null
         and not coalesce((u.privacy_settings ->> 'hide_presence')::boolean, false)
    where {_UNBLOCKED} group by f.user_id, p.room_id"""
_SUPPRESSED = """
    select user_id, entity_id, 1::float4 from seda.suppressions
    where entity_type = '{kind}' and (suppressed_until is null or suppressed_until > seda.clock())"""
_SHOWN = """
    select user_id, entity_id, count(*)::float4 from seda.impressions
    where entity_type = '{kind}' and shown_at > seda.clock() - interval '14 days'
    group by user_id, entity_id"""


def _matrix(
    connection: psycopg.Connection, query: str, indexes: tuple[IdIndex, IdIndex]
) -> sparse.csr_matrix:
    """A query of (row id, column id, float4) as CSR; rows that name an unknown id are left out."""
    row_ids, column_ids, values = read_fixed(connection, query, ["uuid", "uuid", "float4"])
    rows, columns = indexes[0].positions(row_ids), indexes[1].positions(column_ids)
    kept = (rows >= 0) & (columns >= 0)
    shape = (len(indexes[0].ids), len(indexes[1].ids))
    matrix = sparse.csr_matrix(
        (values[kept].astype(np.float32), (rows[kept], columns[kept])), shape=shape
    )
    matrix.sort_indices()
    return matrix


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
) -> sparse.csr_matrix:
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
    return (scale @ matrix).tocsr()


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
