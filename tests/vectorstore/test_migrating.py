"""The way to a second store: a cohort first, nothing unproved, and one step back at any time."""

from collections.abc import Iterator

import numpy as np
import pytest
from qdrant_client import QdrantClient

from seda.database.embedded import EmbeddedServer
from seda.database.regions import RegionalDatabase
from seda.vectorstore.facts import catalogue_facts
from seda.vectorstore.migrating import MigratingStore, go_back, in_cohort
from seda.vectorstore.pgvector import PgVectorStore
from seda.vectorstore.qdrant import QdrantSettingError, QdrantStore, qdrant_store
from seda.vectorstore.routes import MIN_COMPARISONS, StageRefusedError, load_agreement, load_route
from seda.vectorstore.store import Filter, SpaceVector, StoreUnreachableError, Upsert
from tests.vectorstore.worlds import NOW, SPACE, filled_database, made_world

WORLD = made_world(200)


class _World:
    """A catalogue in Postgres, an empty Qdrant beside it, and draws that the test decides."""

    def __init__(self, database) -> None:
        self.database, self.draw = database, 0.0
        self.first = PgVectorStore(database)
        self.second = QdrantStore(
            QdrantClient(":memory:"), "global", catalogue_facts(database), local=True
        )
        self.store = MigratingStore(
            database, self.first, self.second, draw=lambda: self.draw, now=lambda: NOW
        )

    def stage(self) -> str:
        with self.database.transaction() as connection:
            return load_route(connection, "artist").stage

    def agreement(self):
        with self.database.transaction() as connection:
            return load_agreement(connection, load_route(connection, "artist"))

    def compare(self, count: int = 3 * MIN_COMPARISONS) -> None:
        for vector in WORLD.vectors[:count]:
            self.store.compare("artist", SpaceVector(SPACE, vector), 20)

    def search(self, place: int = 0):
        return self.store.nearest("artist", SpaceVector(SPACE, WORLD.vectors[place]), 20)


@pytest.fixture(scope="module")
def place(server: EmbeddedServer) -> Iterator[RegionalDatabase]:
    with filled_database(server, "migrating", WORLD) as database:
        store = PgVectorStore(database)
        store.upsert("artist", SPACE, WORLD.rows, now=NOW)
        store.close()
        yield database


@pytest.fixture
def world(place: RegionalDatabase) -> Iterator[_World]:
    """The same catalogue for every test, its route at the beginning and the second store empty."""
    with place.transaction() as connection:
        connection.execute("truncate seda.vector_routes, seda.vector_comparisons")
        connection.execute("update seda.artists set deleted_at = null where deleted_at is not null")
    world = _World(place)
    yield world
    world.store.close()


def _to(world: _World, stage: str) -> None:
    while world.stage() != stage:
        world.store.fill("artist", SPACE)
        world.compare()
        world.store.advance("artist", SPACE)


def test_it_begins_in_postgres_alone(world) -> None:
    assert world.stage() == "pgvector"
    assert world.second.count("artist", SPACE) == 0
    assert len(world.search()) == 20


def test_in_shadow_a_stable_cohort_is_written_and_compared(world) -> None:
    world.store.advance("artist", SPACE)
    assert world.stage() == "shadow"
    world.store.upsert("artist", SPACE, WORLD.rows, now=NOW)
    cohort = int(in_cohort(WORLD.ids, 0.05).sum())
    assert world.second.count("artist", SPACE) == cohort > 0
    assert (in_cohort(WORLD.ids, 0.05) <= in_cohort(WORLD.ids, 0.2)).all()


def test_no_step_is_taken_unproved(world) -> None:
    _to(world, "shadow")
    with pytest.raises(StageRefusedError, match="0 searches were compared"):
        world.store.advance("artist", SPACE)
    _to(world, "dual")
    world.second.delete("artist", SPACE, WORLD.ids[:30], now=NOW)
    world.compare()
    with pytest.raises(StageRefusedError, match=r"agree on 0\.\d+|170"):
        world.store.advance("artist", SPACE)
    assert world.stage() == "dual"


def test_the_whole_way_there_and_back(world) -> None:
    _to(world, "qdrant")
    answered = world.search(3)
    assert bytes(answered.ids[0]) == bytes(WORLD.ids[3])
    with pytest.raises(StageRefusedError, match="no stage after qdrant"):
        world.store.advance("artist", SPACE)
    world.store.upsert("artist", SPACE, WORLD.rows, now=NOW)
    assert world.first.count("artist", SPACE) == world.second.count("artist", SPACE) == 200
    assert go_back(world.database, "artist", now=NOW) == "dual"
    assert go_back(world.database, "artist", now=NOW, to="pgvector") == "pgvector"
    with pytest.raises(StageRefusedError, match="ahead"):
        go_back(world.database, "artist", now=NOW, to="canary")
    assert len(world.search()) == 20


@pytest.mark.parametrize("stage", ["canary", "qdrant"])
def test_a_second_store_that_is_out_never_fails_a_search_and_is_told_of(world, stage) -> None:
    _to(world, stage)
    failing = _Unreachable()
    world.store = MigratingStore(
        world.database, world.first, failing, draw=lambda: 0.0, now=lambda: NOW
    )
    assert len(world.search()) == 20
    assert world.agreement().failures == 1
    with pytest.raises(StoreUnreachableError):
        world.store.follow("artist", SPACE, WORLD.rows, now=NOW)


class _Unreachable(QdrantStore):
    """A Qdrant at an address where nothing listens."""

    def __init__(self) -> None:
        client = QdrantClient(url="http://127.0.0.1:9", timeout=1, check_compatibility=False)
        super().__init__(client, "global", lambda entity, ids: [None] * len(ids))


def test_a_killed_fill_goes_on_where_it_stopped(world) -> None:
    _to(world, "shadow")
    world.compare()
    world.store.advance("artist", SPACE)
    seen: list[int] = []

    def stop_after_one(count: int) -> None:
        seen.append(count)
        if len(seen) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.store.fill("artist", SPACE, batch=80, advanced=stop_after_one)
    assert world.store.fill("artist", SPACE, batch=80) == 120
    assert world.second.count("artist", SPACE) == 200


def test_what_the_catalogue_hides_is_in_no_answer_of_either(world) -> None:
    _to(world, "qdrant")
    with world.database.transaction() as connection:
        connection.execute(
            "update seda.artists set deleted_at = now() where id = %s", [WORLD.uuids[3]]
        )
    found = world.store.nearest(
        "artist", SpaceVector(SPACE, WORLD.vectors[3]), 200, Filter(genres=WORLD.genres[3])
    )
    assert bytes(WORLD.ids[3]) not in {bytes(row) for row in found.ids}


def test_regions_never_share_a_second_store(databases) -> None:
    settings = databases.settings.model_copy(
        update={"qdrant_url": "http://q:1", "eu_qdrant_url": "http://q:1/"}
    )
    for database in databases:
        with pytest.raises(QdrantSettingError, match="same place"):
            qdrant_store(settings, database.region, catalogue_facts(database))
        with pytest.raises(QdrantSettingError, match="no Qdrant"):
            qdrant_store(databases.settings, database.region, catalogue_facts(database))


def test_an_upsert_of_nothing_is_nothing(world) -> None:
    nothing = Upsert(WORLD.ids[:0], np.empty((0, SPACE.dim), np.float32), [])
    assert world.store.upsert("artist", SPACE, nothing, now=NOW) == 0
