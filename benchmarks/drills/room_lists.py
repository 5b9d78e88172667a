"""Published lists of rooms for people with random tastes, ranked and rendered as the night does."""

from datetime import datetime, timedelta

import numpy as np
import scipy.sparse as sp

from seda.database.identifiers import Ids
from seda.database.regions import RegionalDatabase
from seda.publishing.generations import (
    load_cards,
    load_recommendations,
    open_generation,
    publish,
)
from seda.publishing.lists import ListNames, ListRenderer
from seda.recommender.candidates import CandidatePool
from seda.recommender.inputs import RankingInputs
from seda.recommender.ranking import Ranker
from seda.recommender.recommend import recommend


def publish_rooms(
    database: RegionalDatabase, users: Ids, rooms: Ids, *, ranker: Ranker, version: str, pool: int,
    listed: int, now: datetime,
) -> None:  # fmt: skip
    """A generation of shard `global-00`: for each of the users the best `listed` of `pool` rooms.

    `users` and `rooms` are uint8 `(n, 16)`.
    """
    random, people, count = np.random.default_rng(0), len(users), len(rooms)
    candidates = np.sort(
        np.argpartition(random.random((people, count), dtype=np.float32), pool - 1)[:, :pool],
        axis=1,
    )
    inputs = RankingInputs(
        plays=sp.csr_matrix((people, count), dtype=np.float32),
        pool=CandidatePool(
            np.arange(people + 1, dtype=np.int64) * pool,
            candidates.ravel().astype(np.int32),
            np.ones(people * pool, np.uint8),
        ),
        taste=random.standard_normal((people, 16), dtype=np.float32),
        item_vectors=random.standard_normal((count, 16), dtype=np.float32),
        popularity=random.random(count, dtype=np.float32),
        clusters=random.integers(0, 30, count).astype(np.int32),
        home_clusters=random.integers(0, 30, (people, 3)).astype(np.int32),
        presence=sp.csr_matrix((people, count), dtype=np.float32),
    )
    names = ListNames([f"room {n}" for n in range(count)], np.array([]), [""] * count)
    rows, cards = ListRenderer("room", rooms, names, version).render(
        users, recommend(inputs, weights=ranker, k=listed), created_at=now,
        expires_at=now + timedelta(hours=36),
    )  # fmt: skip
    generation = open_generation(
        database, shard="global-00", model_version=version, run_id=None, data_versions={}, now=now
    )
    load_recommendations(database, generation, rows)
    load_cards(database, generation, cards)
    publish(database, generation, entity_types=["room"], now=now)
