"""What both vector stores promise: the same suite runs against each."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient

from seda.database.embedded import EmbeddedServer
from seda.database.regions import RegionalDatabase
from seda.vectorstore.facts import catalogue_facts
from seda.vectorstore.pgvector import PgVectorStore
from seda.vectorstore.qdrant import QdrantStore
from seda.vectorstore.rows import ForeignRegionError, InvalidVectorsError, UnknownEntityError
from seda.vectorstore.store import (
    EVERYTHING,
    Filter,
    InvalidQueryError,
    Neighbours,
    SpaceVector,
    Upsert,
    VectorStore,
)
from tests.vectorstore.worlds import (
    EU_SPACE,
    GENRES,
    NOW,
    OTHER,
    SPACE,
    World,
    filled_database,
    insert_artists,
    made_world,
)

WORLD = made_world()
STORES = ("pgvector by index", "pgvector by sketch", "qdrant")


@pytest.fixture(scope="module", params=STORES)
def place(request, server: EmbeddedServer) -> Iterator[tuple[VectorStore, RegionalDatabase]]:
    """A store that holds the world in one space and its mirror image in another."""
    name = f"contract_{STORES.index(request.param)}"
    with filled_database(server, name, WORLD) as database:
        store = _store(request.param, database)
        assert store.upsert("artist", SPACE, WORLD.rows, now=NOW) == len(WORLD.ids)
        mirrored = Upsert(WORLD.ids, -WORLD.vectors, WORLD.rows.content_hashes)
        store.upsert("artist", OTHER, mirrored, now=NOW)
        if request.param == "pgvector by index":
            store.rebuild("artist", SPACE, now=NOW)
        yield store, database
        store.close()


def _store(kind: str, database: RegionalDatabase) -> PgVectorStore | QdrantStore:
    if kind == "qdrant":
        client = QdrantClient(":memory:")
        return QdrantStore(client, "global", catalogue_facts(database), local=True)
    return PgVectorStore(database)


def _positions(found: Neighbours) -> list[int]:
    place = {bytes(row): number for number, row in enumerate(WORLD.ids)}
    return [place[bytes(row)] for row in found.ids]


FILTERS = st.builds(
    Filter,
    genres=st.lists(st.sampled_from([*GENRES, "polka"]), max_size=3, unique=True).map(tuple),
    languages=st.lists(st.sampled_from(["de", "en", "fi"]), max_size=2, unique=True).map(tuple),
    exclude=st.lists(st.sampled_from(WORLD.uuids), max_size=30, unique=True).map(tuple),
)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    near=st.booleans(),
    k=st.sampled_from([1, 30, 400, 1000]),
    where=FILTERS,
)
def test_exactly_the_number_that_match_only_those_and_the_best_first(
    place, seed: int, near: bool, k: int, where: Filter
) -> None:
    store, _ = place
    random = np.random.default_rng(seed)
    vector = random.standard_normal(SPACE.dim)
    if near:
        vector = WORLD.vectors[random.integers(len(WORLD.ids))] + 0.05 * vector
    found = store.nearest("artist", SpaceVector(SPACE, vector), k, where)
    matching = WORLD.matching(where)
    positions = _positions(found)
    assert len(positions) == min(k, len(matching)) == len(set(positions))
    assert set(positions) <= set(matching.tolist())
    assert (np.diff(found.similarities) <= 1e-6).all()
    cosines = WORLD.vectors @ (vector / np.linalg.norm(vector))
    # Of another space the cosines would have the other sign.
    assert np.allclose(found.similarities, cosines[positions], atol=2e-3)
    best = np.sort(cosines[matching])[::-1][: len(positions)]
    if len(best):
        assert np.mean(found.similarities >= best[-1] - 2e-3) >= 0.9
    assert store.count("artist", SPACE, where) == len(matching)


def test_a_recall_of_one_is_exact(place) -> None:
    store, _ = place
    for vector in np.random.default_rng(5).standard_normal((10, SPACE.dim)):
        found = store.nearest("artist", SpaceVector(SPACE, vector), 20, recall=1.0)
        best = np.argsort(-(WORLD.vectors @ vector))[:20]
        assert len(set(_positions(found)) & set(best.tolist())) >= 19  # float16 may swap the last


def test_a_space_answers_with_its_own_vectors(place) -> None:
    store, _ = place
    found = store.nearest("artist", SpaceVector(OTHER, WORLD.vectors[7]), 400)
    assert _positions(found)[-1] == 7
    assert found.similarities[-1] == pytest.approx(-1, abs=2e-3)


@pytest.mark.parametrize("vector", [np.ones(47), np.zeros(48), np.full(48, np.nan)])
def test_what_has_no_direction_in_the_space_is_no_query(vector) -> None:
    with pytest.raises(InvalidQueryError):
        SpaceVector(SPACE, vector)


def test_what_cannot_be_answered_is_refused(place) -> None:
    store, _ = place
    query = SpaceVector(SPACE, np.ones(48))
    with pytest.raises(InvalidQueryError, match="k = 0"):
        store.nearest("artist", query, 0)
    with pytest.raises(UnknownEntityError, match="user"):
        store.nearest("user", query, 1)
    with pytest.raises(ForeignRegionError):
        store.nearest("artist", SpaceVector(EU_SPACE, np.ones(48)), 1)
    with pytest.raises(ForeignRegionError):
        store.count("artist", EU_SPACE)
    with pytest.raises(InvalidVectorsError):
        store.upsert("artist", SPACE, Upsert(WORLD.ids, 2 * WORLD.vectors, ["h"] * 400), now=NOW)


def test_nothing_is_found_where_nothing_was_stored(place) -> None:
    store, _ = place
    assert len(store.nearest("room", SpaceVector(SPACE, np.ones(48)), 5)) == 0
    assert store.count("room", SPACE) == 0


@pytest.fixture
def guests(place) -> Iterator[World]:
    """Three more artists, gone again afterwards."""
    store, database = place
    made = made_world(3, seed=99)
    ids = made.ids.copy()
    ids[:, 0] = 255
    world = World(ids, made.vectors, [["guest"]] * 3, [None] * 3)
    with database.transaction() as connection:
        insert_artists(connection, world)
    store.upsert("artist", SPACE, world.rows, now=NOW)
    yield world
    store.delete("artist", SPACE, world.ids, now=NOW)
    with database.transaction() as connection:
        connection.execute("delete from seda.artists where id = any(%s)", [world.uuids])


def test_what_was_replaced_or_deleted_is_not_found_as_it_was(place, guests: World) -> None:
    store, _ = place
    query, where = SpaceVector(SPACE, guests.vectors[0]), Filter(genres=["guest"])
    moved = Upsert(guests.ids[:1], -guests.vectors[:1], ["new"])
    assert store.upsert("artist", SPACE, moved, now=NOW) == 1
    found = store.nearest("artist", query, 5, where)
    assert found.similarities[-1] == pytest.approx(-1, abs=2e-3)
    assert len(found) == 3
    assert store.delete("artist", SPACE, guests.ids[:2], now=NOW) == 2
    assert store.delete("artist", SPACE, guests.ids[:2], now=NOW) == 0
    assert len(store.nearest("artist", query, 5, where)) == 1
    assert store.stats("artist", SPACE).vectors == len(WORLD.ids) + 1


def test_what_the_catalogue_deletes_disappears_at_once(place, guests: World) -> None:
    store, database = place
    query = SpaceVector(SPACE, guests.vectors[0])
    with database.transaction() as connection:
        connection.execute(
            "update seda.artists set deleted_at = now() where id = %s", [guests.uuids[0]]
        )
    for where in (EVERYTHING, Filter(genres=["guest"])):
        found = store.nearest("artist", query, 5, where)
        assert bytes(guests.ids[0]) not in {bytes(row) for row in found.ids}
        assert len(found) == (2 if where.genres else 5)
    assert store.upsert("artist", SPACE, guests.rows, now=NOW) == 2


def test_a_rebuild_keeps_every_answer(place, guests: World) -> None:
    store, _ = place
    query = SpaceVector(SPACE, guests.vectors[1])
    before = store.nearest("artist", query, 20)
    assert store.rebuild("artist", OTHER, now=NOW).vectors == len(WORLD.ids)
    if store.stats("artist", SPACE).indexed:
        assert store.rebuild("artist", SPACE, now=NOW).vectors == len(WORLD.ids) + 3
    after = store.nearest("artist", query, 20)
    assert np.array_equal(before.ids, after.ids)
