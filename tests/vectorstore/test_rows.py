"""Vectors stay in their space and region, are stored whole or not at all, and leave a trace."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

import numpy as np
import psycopg
import pytest

from seda.database.embedded import EmbeddedServer
from seda.database.identifiers import ids_of, uuids_of
from seda.embeddings.space_rows import active_space
from seda.embeddings.spaces import EmbeddingSpace
from seda.vectorstore.rows import (
    ForeignRegionError,
    InvalidVectorsError,
    SpaceConflictError,
    UnknownEntityError,
    UnknownSpaceError,
    delete_vectors,
    ensure_space,
    load_vectors,
    store_vectors,
    stored_versions,
)

NOW = datetime(2026, 11, 1, tzinfo=UTC)
SPACE = EmbeddingSpace("local", "words", 24, "1", "global")
OTHER = EmbeddingSpace("local", "words", 8, "2", "global")
EU_SPACE = EmbeddingSpace("local", "words", 24, "1", "eu")
IDS = ids_of(UUID(int=number + 1) for number in range(5))[[3, 0, 4, 1, 2]]
HASHES = list("dbeac")


@pytest.fixture(scope="module")
def url(server: EmbeddedServer) -> Iterator[str]:
    """One migrated global database for the whole module: every test rolls back."""
    name = f"test_vector_rows_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    with psycopg.connect(server.uri("postgres"), autocommit=True) as connection:
        connection.execute(f'create database "{name}" template "template_global"')
    yield server.uri(name)
    with psycopg.connect(server.uri("postgres"), autocommit=True) as connection:
        connection.execute(f'drop database "{name}" with (force)')


@pytest.fixture
def connection(url: str) -> Iterator[psycopg.Connection]:
    """The database with five artists, in one transaction."""
    with psycopg.connect(url) as connection:
        for number, uuid in enumerate(uuids_of(IDS)):
            connection.execute(
                "insert into seda.artists (id, name) values (%s, %s)", [uuid, f"Artist {number}"]
            )
        yield connection
        connection.rollback()


def _vectors(dim: int = 24, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(5, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _states(connection) -> dict[str, str]:
    return dict(connection.execute("select id, state from seda.embedding_spaces").fetchall())


def _audit(connection) -> list[tuple]:
    return connection.execute(
        "select entity_uuid, entity_type, dim, region, computed_at, deleted_at "
        "from seda.embeddings_audit order by computed_at, entity_uuid"
    ).fetchall()


def test_a_space_is_made_once_and_only_one_is_active(connection) -> None:
    assert active_space(connection) is None
    ensure_space(connection, SPACE)
    ensure_space(connection, SPACE)
    ensure_space(connection, OTHER, "standby")
    assert _states(connection) == {SPACE.id: "active", OTHER.id: "standby"}
    assert active_space(connection) == SPACE
    with pytest.raises(SpaceConflictError, match="standby"):
        ensure_space(connection, OTHER, "active")
    with pytest.raises(SpaceConflictError, match="cut over"):
        ensure_space(connection, EmbeddingSpace("cohere", "m", 8, "1", "global"))
    assert _states(connection) == {SPACE.id: "active", OTHER.id: "standby"}


def test_a_space_of_the_other_region_is_refused(connection) -> None:
    with pytest.raises(ForeignRegionError):
        ensure_space(connection, EU_SPACE)
    with pytest.raises(ForeignRegionError):
        store_vectors(connection, "artist", EU_SPACE, IDS, _vectors(), HASHES, NOW)
    with pytest.raises(ForeignRegionError):
        load_vectors(connection, "artist", EU_SPACE)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_vectors_come_back_in_the_order_of_their_ids(connection, dtype) -> None:
    ensure_space(connection, SPACE)
    vectors = _vectors().astype(dtype)
    assert store_vectors(connection, "artist", SPACE, IDS, vectors, HASHES, NOW) == 5
    ids, read = load_vectors(connection, "artist", SPACE)
    order = np.argsort(IDS[:, 15])
    assert np.array_equal(ids, IDS[order])
    assert np.array_equal(read, vectors[order].astype(np.float16))
    versions = stored_versions(connection, "artist", SPACE)
    assert np.array_equal(versions.ids, ids)
    assert versions.content_hashes == list("bacde")
    assert set(versions.computed_days) == {(NOW - datetime(1970, 1, 1, tzinfo=UTC)).days}


def test_a_second_store_replaces_and_is_audited_again(connection) -> None:
    ensure_space(connection, SPACE)
    later = datetime(2026, 11, 2, tzinfo=UTC)
    store_vectors(connection, "artist", SPACE, IDS, _vectors(), HASHES, NOW)
    store_vectors(connection, "artist", SPACE, IDS[:2], _vectors(seed=1)[:2], ["x", "y"], later)
    ids, read = load_vectors(connection, "artist", SPACE)
    assert len(ids) == 5
    assert np.array_equal(read[3], _vectors(seed=1)[0].astype(np.float16))
    assert stored_versions(connection, "artist", SPACE).content_hashes == list("yacxe")
    first, second = uuids_of(IDS)[:2]
    assert _audit(connection)[5:] == [
        (second, "artist", 24, "global", later, None),
        (first, "artist", 24, "global", later, None),
    ]


def test_spaces_are_kept_apart(connection) -> None:
    ensure_space(connection, SPACE)
    ensure_space(connection, OTHER, "shadow")
    store_vectors(connection, "artist", SPACE, IDS, _vectors(), HASHES, NOW)
    store_vectors(connection, "artist", OTHER, IDS[:1], _vectors(8)[:1], ["s"], NOW)
    assert load_vectors(connection, "artist", SPACE)[1].shape == (5, 24)
    assert load_vectors(connection, "artist", OTHER)[1].shape == (1, 8)
    assert load_vectors(connection, "room", SPACE)[1].shape == (0, 24)


def test_what_was_deleted_meanwhile_is_left_out(connection) -> None:
    ensure_space(connection, SPACE)
    gone, hidden = uuids_of(IDS)[:2]
    connection.execute("delete from seda.artists where id = %s", [gone])
    connection.execute("update seda.artists set deleted_at = now() where id = %s", [hidden])
    assert store_vectors(connection, "artist", SPACE, IDS, _vectors(), HASHES, NOW) == 3
    assert len(_audit(connection)) == 3


def test_deletion_is_marked_in_the_audit(connection) -> None:
    ensure_space(connection, SPACE)
    ensure_space(connection, OTHER, "shadow")
    store_vectors(connection, "artist", SPACE, IDS, _vectors(), HASHES, NOW)
    store_vectors(connection, "artist", OTHER, IDS, _vectors(8), HASHES, NOW)
    assert delete_vectors(connection, "artist", SPACE, IDS[:2], NOW) == 2
    assert len(load_vectors(connection, "artist", SPACE)[0]) == 3
    assert len(load_vectors(connection, "artist", OTHER)[0]) == 5
    assert sum(row[5] == NOW for row in _audit(connection)) == 2
    assert delete_vectors(connection, "artist", None, IDS, NOW) == 8
    assert all(row[5] == NOW for row in _audit(connection))
    assert delete_vectors(connection, "artist", None, IDS, NOW) == 0


def _spoilt(place: tuple, value: float) -> np.ndarray:
    vectors = _vectors()
    vectors[place] = value
    return vectors


@pytest.mark.parametrize(
    ("ids", "vectors"),
    [
        (IDS, _spoilt((2, 3), np.nan)),
        (IDS, _spoilt((4, 0), np.inf)),
        (IDS, _vectors() * 1.02),
        (IDS, _vectors() * 0.98),
        (IDS, np.zeros((5, 24), np.float32)),
        (IDS, _vectors(23)),
        (IDS[:4], _vectors()),
        (IDS[[0, 1, 2, 3, 3]], _vectors()),
    ],
)
def test_vectors_that_do_not_belong_are_refused(connection, ids, vectors) -> None:
    ensure_space(connection, SPACE)
    with pytest.raises(InvalidVectorsError):
        store_vectors(connection, "artist", SPACE, ids, vectors, HASHES, NOW)
    assert len(load_vectors(connection, "artist", SPACE)[0]) == 0
    assert _audit(connection) == []


def test_unknown_spaces_and_entities_are_refused(connection) -> None:
    with pytest.raises(UnknownSpaceError):
        store_vectors(connection, "artist", SPACE, IDS, _vectors(), HASHES, NOW)
    ensure_space(connection, SPACE)
    with pytest.raises(UnknownEntityError, match="track"):
        store_vectors(connection, "track", SPACE, IDS, _vectors(), HASHES, NOW)


def test_every_entity_has_vectors_and_nothing_is_a_store_too(connection) -> None:
    ensure_space(connection, SPACE)
    one = uuids_of(IDS)[0]
    connection.execute("insert into seda.playlists (id, name) values (%s, 'p')", [one])
    connection.execute("insert into seda.rooms (id, name) values (%s, 'r')", [one])
    connection.execute("insert into seda.users (id) values (%s)", [one])
    for entity in ("playlist", "room", "user"):
        stored = store_vectors(connection, entity, SPACE, IDS[:1], _vectors()[:1], ["h"], NOW)
        assert stored == 1
        assert store_vectors(connection, entity, SPACE, IDS[:0], _vectors()[:0], [], NOW) == 0
        assert np.array_equal(load_vectors(connection, entity, SPACE)[0], IDS[:1])
