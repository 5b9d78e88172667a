"""The quality report measures what it says: true recall, by how much a filter lets through."""

from collections.abc import Iterator

import numpy as np
import pytest

from seda.database.embedded import EmbeddedServer
from seda.vectorstore.pgvector import PgVectorStore
from seda.vectorstore.quality import load_searched, search_quality
from seda.vectorstore.store import Neighbours
from seda.vectorstore.thresholds import thresholds
from tests.vectorstore.worlds import NOW, SPACE, filled_database, made_world

WORLD = made_world(600)


@pytest.fixture(scope="module")
def store(server: EmbeddedServer) -> Iterator[tuple]:
    with filled_database(server, "quality", WORLD) as database:
        store = PgVectorStore(database)
        store.upsert("artist", SPACE, WORLD.rows, now=NOW)
        yield store, load_searched(database, "artist", SPACE)
        store.close()


def test_every_line_has_its_decile_and_full_recall_where_search_is_exact(store) -> None:
    searched_by, searched = store
    lines = search_quality(searched_by, "artist", SPACE, searched, queries=6, k=20)
    assert lines[0].decile == -1
    assert {line.relation for line in lines} == {"none", "uncorrelated", "anti-correlated"}
    assert {line.decile for line in lines} >= {-1, 0, 3}
    assert all(line.recall > 0.97 for line in lines)
    assert all(0 < line.p50_ms <= line.p95_ms <= line.p99_ms for line in lines)


def test_a_store_that_answers_wrongly_is_found_out(store) -> None:
    searched_by, searched = store

    class Blind:
        def nearest(self, entity, query, k, where, **options) -> Neighbours:
            found = searched_by.nearest(entity, query, 200, where)
            return Neighbours(found.ids[-k:], found.similarities[-k:])

    lines = search_quality(Blind(), "artist", SPACE, searched, queries=6, k=20)
    assert lines[0].recall < 0.2


def test_what_is_hidden_is_not_part_of_the_truth(store) -> None:
    _, searched = store
    assert len(searched.ids) == len(WORLD.ids)
    assert searched.members.shape == (600, 4)
    assert np.asarray(searched.members.sum(axis=1)).min() >= 1


def test_thresholds_are_reached_beyond_their_limits_and_not_at_them() -> None:
    at = thresholds(vectors=500_000, p95_ms=120.0, queries_per_second=200.0)
    assert not any(each.is_reached for each in at)
    beyond = thresholds(vectors=500_001, p95_ms=120.1, queries_per_second=200.1)
    assert all(each.is_reached for each in beyond)
    unknown = thresholds(vectors=0, p95_ms=None, queries_per_second=None)
    assert not any(each.is_reached for each in unknown)
