"""Taste vectors of people whose imports have just changed, without waiting for the hour.

The same weights as the hourly taste, over these people alone: artists by recent plays, and chosen
genres as the artists that carry them most (the hour uses the centroid of all of them, and public
playlists). The hour replaces it by its own.
"""

from datetime import datetime

import numpy as np
import psycopg
from psycopg import sql
from scipy import sparse

from seda.activity.affinity import CHOSEN_GENRE_PLAYS
from seda.database.copy import read_fixed
from seda.database.identifiers import IdIndex, Ids, ids_of, uuids_of
from seda.database.regions import RegionalDatabase
from seda.embeddings.space_rows import active_space
from seda.embeddings.spaces import EmbeddingSpace
from seda.embeddings.taste import taste_vectors
from seda.vectorstore.changed import store_changed_vectors
from seda.vectorstore.rows import vector_table

MOST = 500
_CARRIERS = 200

_WAITING = """
    select user_id from seda.import_changes where taste_at is null order by changed_at limit %s
"""
_AFFINITIES = sql.SQL("""
    with people as (select unnest({people}::uuid[]) as user_id),
    played as (
        select c.user_id, c.entity_id, ln(1 + sum(c.plays * 0.5 ^ ((
            (select max(period) from seda.activity_counts) - c.period) / 60.0))) as weight
        from people p join seda.activity_counts c on c.user_id = p.user_id
        where c.entity_type = 'artist' group by c.user_id, c.entity_id
    ), chosen as (
        select p.user_id, g.genre from people p join seda.users u on u.id = p.user_id
        cross join lateral jsonb_array_elements_text(case jsonb_typeof(u.preferences -> 'genres')
            when 'array' then u.preferences -> 'genres' else '[]' end) as g(genre)
    ), carried as (
        select c.user_id, a.artist_id, {genre_weight} / count(*) over (
            partition by c.user_id, c.genre) as weight
        from chosen c cross join lateral (
            select artist_id from seda.artist_genres where genre = c.genre
            order by weight desc, artist_id limit {carriers}) a
    )
    select user_id, entity_id, sum(weight)::float4 from (
        select * from played union all select * from carried) each
    group by user_id, entity_id
""")
_MARK = """
    update seda.import_changes set taste_at = %s where user_id = any (%s) and changed_at <= %s
"""


def refresh_tastes(database: RegionalDatabase, *, now: datetime, most: int = MOST) -> int:
    """Recompute up to `most` tastes that imports or their removal changed; how many there were."""
    with database.transaction() as connection:
        space = active_space(connection)
        people = ids_of(user for (user,) in connection.execute(_WAITING, [most]).fetchall())
        if not len(people):
            return 0
        if space is not None:
            affinity, vectors = _inputs(connection, people, space)
    if space is not None:
        tastes = taste_vectors(affinity, vectors)
        store_changed_vectors(database, "user", space, people, tastes, now=now)
    with database.transaction() as connection:
        connection.execute(_MARK, [now, uuids_of(people), now])
    return len(people)


def _inputs(
    connection: psycopg.Connection, people: Ids, space: EmbeddingSpace
) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Affinities (people, artists) and the vectors of those artists, (artists, dim)."""
    query = _AFFINITIES.format(
        people=sql.Literal(uuids_of(people)),
        genre_weight=sql.Literal(float(np.log1p(CHOSEN_GENRE_PLAYS))),
        carriers=sql.Literal(_CARRIERS),
    )
    owners, artists, weights = read_fixed(connection, query, ["uuid", "uuid", "float4"])
    known, vectors = _vectors(connection, np.unique(artists, axis=0), space)
    rows, columns = IdIndex(people).positions(owners), IdIndex(known).positions(artists)
    kept = (rows >= 0) & (columns >= 0)
    affinity = sparse.csr_matrix(
        (weights[kept], (rows[kept], columns[kept])), shape=(len(people), len(known))
    )
    return affinity, vectors


def _vectors(
    connection: psycopg.Connection, artists: Ids, space: EmbeddingSpace
) -> tuple[Ids, np.ndarray]:
    query = sql.SQL(
        "select entity_id, embedding from {} where space_id = {} and entity_id = any ({}::uuid[])"
    ).format(vector_table("artist"), sql.Literal(space.id), sql.Literal(uuids_of(artists)))
    ids, vectors = read_fixed(connection, query, ["uuid", ("halfvec", space.dim)])
    return ids, vectors
