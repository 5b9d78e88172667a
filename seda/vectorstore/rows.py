"""The rows of vectors: stored, read and deleted whole, always within one embedding space.

Every vector stored here leaves a row in `embeddings_audit`. An entity is "artist", "playlist",
"room" or "user"; what is searched (all but users) has its sketch beside it, written and deleted
with it. Which vectors are near to which is not asked here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg import sql

from seda.database import copy
from seda.database.identifiers import Ids, id_order, uuids_of
from seda.embeddings.spaces import EmbeddingSpace
from seda.errors import SedaError
from seda.vectorstore.sketches import sketches_of

State: TypeAlias = Literal["active", "standby", "shadow", "retired"]
Vectors: TypeAlias = npt.NDArray[np.float16] | npt.NDArray[np.float32]

NORM_TOLERANCE = 1e-2
_BLOCK = 8192
_SECONDS_PER_DAY = 86_400

_TABLES = {
    "artist": ("artists_vectors", "artists"),
    "playlist": ("playlists_vectors", "playlists"),
    "room": ("rooms_vectors", "rooms"),
    "user": ("user_vectors", "users"),
}
# People are never searched, so their vectors have no sketches.
_SKETCHED = {
    "artist": ("artists_sketches", "artists_searchable"),
    "playlist": ("playlists_sketches", "playlists_searchable"),
    "room": ("rooms_sketches", "rooms_searchable"),
}


class UnknownEntityError(SedaError):
    """Something other than an artist, a playlist, a room or a user."""


class ForeignRegionError(SedaError):
    """A space of one region was used with the database of another."""


class SpaceConflictError(SedaError):
    """A space cannot be in the state that was asked for."""


class UnknownSpaceError(SedaError):
    """Vectors were given for a space that this database does not have."""


class InvalidVectorsError(SedaError):
    """Vectors that do not belong in their space."""


@dataclass(frozen=True, eq=False)
class StoredVersions:
    """`ids` (n, 16) uint8 in ascending order, the content hash of what each vector is of, and the
    day on which it was computed, `computed_days` (n,) int64 since 1970."""

    ids: Ids
    content_hashes: list[str]
    computed_days: npt.NDArray[np.int64]


def ensure_space(
    connection: psycopg.Connection, space: EmbeddingSpace, state: State = "active"
) -> None:
    """Have the space in the state, in the caller's transaction; a second call does nothing.

    Raises:
        ForeignRegionError: the space belongs to the other region.
        SpaceConflictError: the space has another state, or another space is active.
    """
    _refuse_foreign(connection, space)
    connection.execute(
        "insert into seda.embedding_spaces (id, provider, model, dim, version, region, state) "
        "values (%s, %s, %s, %s, %s, %s, %s) on conflict do nothing",
        [space.id, space.provider, space.model, space.dim, space.version, space.region, state],
    )
    rows = connection.execute(
        "select id, state from seda.embedding_spaces where id = %s or state = 'active'",
        [space.id],
    )
    present = {str(space_id): str(present_state) for space_id, present_state in rows}
    if space.id not in present:
        raise SpaceConflictError(
            f"{space.id} cannot be active: {', '.join(present)} is. Make it a standby, or cut over."
        )
    if present[space.id] != state:
        raise SpaceConflictError(
            f"{space.id} is {present[space.id]}, not {state}: its state changes by a cut-over."
        )


def stored_versions(
    connection: psycopg.Connection, entity: str, space: EmbeddingSpace
) -> StoredVersions:
    """What each stored vector of the space was made from, and when."""
    query = sql.SQL(
        "select uuid_send(entity_id), content_hash, extract(epoch from computed_at)::bigint "
        "from {} where space_id = %s order by entity_id"
    ).format(vector_table(entity))
    rows = connection.execute(query, [space.id], binary=True).fetchall()
    ids = np.frombuffer(b"".join(row[0] for row in rows), np.uint8)
    seconds = np.array([row[2] for row in rows], np.int64)
    return StoredVersions(
        ids.reshape(-1, 16), [row[1] for row in rows], seconds // _SECONDS_PER_DAY
    )


def store_vectors(
    connection: psycopg.Connection,
    entity: str,
    space: EmbeddingSpace,
    ids: Ids,
    vectors: Vectors,
    content_hashes: Sequence[str],
    computed_at: datetime,
) -> int:
    """Insert or replace vectors, each with its audit row, in the caller's transaction.

    `ids` is `(n, 16) uint8`, distinct; `vectors` is `(n, dim)` of unit norm. An entity that was
    deleted meanwhile is left out, so the number that is returned may be lower than n.

    Raises:
        InvalidVectorsError: wrong shape, not finite, not of unit norm, or an id twice.
        ForeignRegionError: the space belongs to the other region.
        UnknownSpaceError: the database does not have the space.
    """
    check_vectors(space, ids, vectors, content_hashes)
    _refuse_foreign(connection, space)
    known = "select from seda.embedding_spaces where id = %s"
    if connection.execute(known, [space.id]).fetchone() is None:
        raise UnknownSpaceError(f"{space.id} is not in this database: ensure the space first.")
    with connection.transaction():
        _arrive(connection, space, ids, vectors, content_hashes, entity in _SKETCHED)
        stored = connection.execute(
            _upsert(entity),
            {
                "space": space.id,
                "computed_at": computed_at,
                "entity": entity,
                "provider": space.provider,
                "model": space.model,
                "dim": space.dim,
                "version": space.version,
            },
        ).rowcount
        connection.execute("drop table arriving_vectors")
    return stored


def complete_sketches(connection: psycopg.Connection, entity: str, space: EmbeddingSpace) -> int:
    """Give every vector a sketch, and every sketch what the catalogue says now.

    Writers and triggers keep both; this repairs what was stored before there were sketches, and
    the rare change of an entity while its vector was on its way. Returns the rows it wrote.
    """
    table, searchable = (sql.Identifier("seda", name) for name in _SKETCHED[entity])
    written = connection.execute(
        sql.SQL(
            """
            update {table} s set genres = e.genres, language = e.language, visible = e.visible
            from {searchable} e where e.id = s.entity_id and s.space_id = %s
              and (s.genres, s.language, s.visible)
                  is distinct from (e.genres, e.language, e.visible)
            """
        ).format(table=table, searchable=searchable),
        [space.id],
    ).rowcount
    missing = sql.SQL(
        """
        select v.entity_id, v.embedding from {vectors} v where v.space_id = %s and not exists
            (select from {table} s where s.space_id = v.space_id and s.entity_id = v.entity_id)
        """
    ).format(vectors=vector_table(entity), table=table)
    ids, vectors = copy.read_fixed(
        connection, missing, ["uuid", ("halfvec", space.dim)], [space.id]
    )
    if len(ids):
        connection.execute(
            "create temporary table arriving_sketches (entity_id uuid, sketch varbit)"
        )
        columns = {"entity_id": copy.uuids(ids), "sketch": copy.bit_strings(sketches_of(vectors))}
        copy.copy_rows(connection, "arriving_sketches", columns)
        written += connection.execute(
            sql.SQL(
                """
                insert into {table} (space_id, entity_id, sketch, genres, language, visible)
                select %s, a.entity_id, a.sketch, e.genres, e.language, e.visible
                from arriving_sketches a join {searchable} e on e.id = a.entity_id
                on conflict do nothing
                """
            ).format(table=table, searchable=searchable),
            [space.id],
        ).rowcount
        connection.execute("drop table arriving_sketches")
    return written


def load_vectors(
    connection: psycopg.Connection, entity: str, space: EmbeddingSpace
) -> tuple[Ids, npt.NDArray[np.float16]]:
    """All ids `(n, 16) uint8` in ascending order, and their vectors `(n, dim) float16`.

    Raises:
        ForeignRegionError: the space belongs to the other region.
    """
    _refuse_foreign(connection, space)
    query = sql.SQL("select entity_id, embedding from {} where space_id = %s").format(
        vector_table(entity)
    )
    ids, vectors = copy.read_fixed(connection, query, ["uuid", ("halfvec", space.dim)], [space.id])
    # Sorted here: Postgres would spill rows of this width to disk.
    order = id_order(ids)
    return ids[order], vectors[order]


def count_vectors(connection: psycopg.Connection, space: EmbeddingSpace) -> int:
    """How many vectors the space holds, of entities and people together."""
    counts = [
        sql.SQL("(select count(*) from {} where space_id = %(space)s)").format(vector_table(entity))
        for entity in _TABLES
    ]
    query = sql.SQL("select {}").format(sql.SQL(" + ").join(counts))
    ((count,),) = connection.execute(query, {"space": space.id})
    return int(count)


def sample_vectors(
    connection: psycopg.Connection, entity: str, space: EmbeddingSpace, count: int
) -> npt.NDArray[np.float16]:
    """Up to `count` stored vectors `(n, dim)`, the first by id: random ids are a fair sample."""
    query = sql.SQL(
        "select entity_id, embedding from {} where space_id = %s order by entity_id limit %s"
    ).format(vector_table(entity))
    kinds: list[copy.ReadType] = ["uuid", ("halfvec", space.dim)]
    _, vectors = copy.read_fixed(connection, query, kinds, [space.id, count])
    return vectors


def delete_vectors(
    connection: psycopg.Connection,
    entity: str,
    space: EmbeddingSpace | None,
    ids: Ids,
    deleted_at: datetime,
) -> int:
    """Delete the vectors of entities `(n, 16) uint8` and mark their audit rows, in one statement.

    A space of None means every space. Returns the number of vectors deleted.
    """
    query = sql.SQL(
        """
        with gone as (
            delete from {table} v using seda.embedding_spaces s
            where s.id = v.space_id and v.entity_id = any (%(ids)s)
              and (%(space)s::text is null or s.id = %(space)s)
            returning v.entity_id, s.provider, s.model, s.dim, s.version
        ), marked as (
            update seda.embeddings_audit a set deleted_at = %(deleted_at)s
            from gone g
            where a.entity_type = %(entity)s and a.entity_uuid = g.entity_id
              and (a.provider, a.model, a.dim, a.version)
                = (g.provider, g.model, g.dim, g.version)
              and a.deleted_at is null
        )
        select count(*) from gone
        """
    ).format(table=vector_table(entity))
    parameters = {
        "ids": uuids_of(ids),
        "space": None if space is None else space.id,
        "deleted_at": deleted_at,
        "entity": entity,
    }
    ((deleted,),) = connection.execute(query, parameters)
    return int(deleted)


def _arrive(
    connection: psycopg.Connection,
    space: EmbeddingSpace,
    ids: Ids,
    vectors: Vectors,
    content_hashes: Sequence[str],
    sketched: bool,
) -> None:
    """COPY into a temporary table, because COPY itself cannot replace rows."""
    connection.execute(
        sql.SQL(
            "create temporary table arriving_vectors (entity_id uuid primary key, "
            "embedding halfvec({}), content_hash text, sketch varbit)"
        ).format(sql.Literal(space.dim))
    )
    columns = {
        "entity_id": copy.uuids(ids),
        "embedding": copy.halfvecs(vectors),
        "content_hash": copy.texts(content_hashes),
    }
    if sketched:
        columns["sketch"] = copy.bit_strings(sketches_of(vectors))
    try:
        copy.copy_rows(connection, "arriving_vectors", columns)
    except psycopg.errors.UniqueViolation as problem:
        raise InvalidVectorsError("Two vectors were given for one entity.") from problem


def vector_table(entity: str, place: int = 0) -> sql.Identifier:
    """The table of an entity's vectors; place 1 is the table of the entities themselves."""
    if entity not in _TABLES:
        raise UnknownEntityError(f"{entity!r} has no vectors; {', '.join(_TABLES)} do.")
    return sql.Identifier("seda", _TABLES[entity][place])


def _upsert(entity: str) -> sql.Composed:
    """Locks the entities against deletion, so that one that vanishes meanwhile is only left out."""
    return sql.SQL(
        """
        with present as (
            select a.* from arriving_vectors a join {entities} e on e.id = a.entity_id
            where e.deleted_at is null
            for key share of e
        ), stored as (
            insert into {table} (space_id, entity_id, embedding, content_hash, computed_at)
            select %(space)s, entity_id, embedding, content_hash, %(computed_at)s from present
            on conflict (space_id, entity_id) do update set embedding = excluded.embedding,
                content_hash = excluded.content_hash, computed_at = excluded.computed_at
            returning entity_id
        ){sketched}
        insert into seda.embeddings_audit
            (entity_uuid, entity_type, provider, model, dim, version, computed_at)
        select entity_id, %(entity)s, %(provider)s, %(model)s, %(dim)s, %(version)s,
               %(computed_at)s
        from stored
        """
    ).format(
        entities=vector_table(entity, 1), table=vector_table(entity), sketched=_sketching(entity)
    )


def _sketching(entity: str) -> sql.Composable:
    """The part of the upsert that writes sketches with what a search filters by."""
    if entity not in _SKETCHED:
        return sql.SQL("")
    table, searchable = (sql.Identifier("seda", name) for name in _SKETCHED[entity])
    return sql.SQL(
        """, sketched as (
            insert into {table} (space_id, entity_id, sketch, genres, language, visible)
            select %(space)s, p.entity_id, p.sketch, e.genres, e.language, e.visible
            from present p join {searchable} e on e.id = p.entity_id
            on conflict (space_id, entity_id) do update set sketch = excluded.sketch,
                genres = excluded.genres, language = excluded.language,
                visible = excluded.visible
        )"""
    ).format(table=table, searchable=searchable)


def _refuse_foreign(connection: psycopg.Connection, space: EmbeddingSpace) -> None:
    ((region,),) = connection.execute("select seda.database_region()")
    if region != space.region:
        raise ForeignRegionError(
            f"{space.id} is a space of {space.region}; this is the database of {region}."
        )


def check_vectors(
    space: EmbeddingSpace, ids: Ids, vectors: Vectors, content_hashes: Sequence[str]
) -> None:
    """Refuse vectors of another shape, not finite or not of unit norm (`InvalidVectorsError`)."""
    if vectors.shape != (len(ids), space.dim) or len(content_hashes) != len(ids):
        raise InvalidVectorsError(
            f"{space.id} takes {len(ids)} vectors of {space.dim} and as many hashes; got "
            f"{vectors.shape} and {len(content_hashes)}."
        )
    for start in range(0, len(vectors), _BLOCK):
        # float32: the squares of a float16 lose what the tolerance needs.
        block = vectors[start : start + _BLOCK].astype(np.float32)
        norms = np.sqrt(np.einsum("ij,ij->i", block, block))
        # Written so that NaN, too, is refused.
        wrong = np.flatnonzero(~(np.abs(norms - 1) <= NORM_TOLERANCE))
        if len(wrong):
            raise InvalidVectorsError(
                f"Vector {start + wrong[0]} has norm {norms[wrong[0]]}: finite numbers and unit "
                "norm are stored, nothing else."
            )
