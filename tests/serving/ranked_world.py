"""Rooms that were really ranked and published: a delta re-rank finds what the night leaves."""

import time
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import numpy as np
import scipy.sparse as sp

from seda.activity.social_events import EventRange, next_range
from seda.database.identifiers import ids_of
from seda.database.regions import Region, shards_of
from seda.publishing.generations import (
    load_cards,
    load_recommendations,
    open_generation,
    publish,
)
from seda.publishing.lists import ListNames, ListRenderer
from seda.publishing.overlays import CONSUMER, DeltaReport, update_overlays
from seda.recommender.candidates import CandidatePool
from seda.recommender.inputs import RankingInputs
from seda.recommender.ranking import LinearWeights, Ranker
from seda.recommender.recommend import recommend
from tests.serving.serving_world import Entity, Listener, World

VERSION = "linear-design-1"
WEIGHTS = LinearWeights()


class RankedWorld:
    """A world of rooms; `publish` ranks them for people, each in a shard of their own."""

    def __init__(self, world: World, rooms: int = 40, seed: int = 4) -> None:
        self.world = world
        self.rooms = sorted(world.entities("room", rooms), key=lambda room: room.id.bytes)
        self._random = np.random.default_rng(seed)
        self._vectors = self._random.standard_normal((rooms, 8)).astype(np.float32)
        self._clusters = self._random.integers(0, 6, rooms).astype(np.int32)

    def publish(self, *people: Listener, listed: int = 30, present: dict[int, int] | None = None,
                now: datetime | None = None) -> int:  # fmt: skip
        """Rank and publish; friends `present` at that time by room. The last one's generation."""
        for person in people:
            generation = self._publish(person, listed, present or {}, now or datetime.now(UTC))
        return generation

    def _publish(
        self, person: Listener, listed: int, present: dict[int, int], now: datetime
    ) -> int:
        count = len(self.rooms)
        taste = np.random.default_rng(person.id.int % 2**32).standard_normal((1, 8))
        there = sp.lil_matrix((1, count), dtype=np.float32)
        for room, friends in present.items():
            there[0, room] = friends
        inputs = RankingInputs(
            plays=sp.csr_matrix((1, count), dtype=np.float32),
            pool=CandidatePool(
                np.array([0, count]), np.arange(count, dtype=np.int32), np.ones(count, np.uint8)
            ),
            taste=taste.astype(np.float32),
            item_vectors=self._vectors,
            clusters=self._clusters,
            home_clusters=np.array([[0, 1, -1]], np.int32),
            presence=there.tocsr(),
        )
        lists = recommend(inputs, weights=WEIGHTS, k=listed)
        names = ListNames([room.name for room in self.rooms], np.array([]), [""] * count)
        ids = ids_of(room.id for room in self.rooms)
        rows, cards = ListRenderer("room", ids, names, VERSION).render(
            ids_of([person.id]), lists, created_at=now, expires_at=now + timedelta(hours=36)
        )
        database = self.world.databases[person.region]
        generation = open_generation(
            database, shard=self.world.shard(person), model_version=VERSION, run_id=None,
            data_versions={}, now=now,
        )  # fmt: skip
        load_recommendations(database, generation, rows)
        load_cards(database, generation, cards)
        publish(database, generation, entity_types=["room"], now=now, allow_empty=True)
        return generation

    def order(self, person: Listener) -> list[Entity]:
        """The person's rooms as published."""
        ((ids,),) = self.world.sql(
            "select m.entity_ids from seda.mv_user_top_candidates m join seda.generation_pointer p "
            "using (generation, entity_type) where m.user_id = %s",
            person.id,
            region=person.region,
        )
        by_id = {room.id: room for room in self.rooms}
        return [by_id[id] for id in ids]

    def event(self, person: Listener, kind: str, room: Entity) -> UUID:
        """A social event, and the presence that goes with it."""
        id = uuid4()
        self.world.sql(
            "insert into seda.social_events (event_id, user_id, kind, entity_type, entity_id, "
            "occurred_at) values (%s, %s, %s, 'room', %s, now())",
            *(id, person.id, kind, room.id),
            region=person.region,
        )
        if kind == "join":
            self.world.enter(room, person)
        elif kind == "leave":
            self.world.sql(
                "delete from seda.room_presence where user_id = %s and room_id = %s",
                *(person.id, room.id),
                region=person.region,
            )
        return id

    def ahead(self, region: Region = Region.GLOBAL, consumer: str = CONSUMER) -> EventRange:
        """What is to be read once no transaction of anybody on this server holds it back."""
        ((newest,),) = self.world.sql(
            "select coalesce(max(transaction_id), '0')::text::numeric from seda.social_events",
            region=region,
        )
        for _ in range(600):
            with self.world.databases[region].transaction() as connection:
                found = next_range(connection, consumer)
            if not newest or max(found.since, found.until) > newest:
                return found
            time.sleep(0.05)
        raise AssertionError("a transaction stayed open for half a minute")

    def rerank(
        self, region: Region = Region.GLOBAL, *, now: datetime | None = None,
        ranker: Ranker | None = WEIGHTS,
    ) -> DeltaReport:  # fmt: skip
        """One delta re-rank of all that happened."""
        return update_overlays(
            self.world.databases[region],
            until=self.ahead(region).until,
            rankers=lambda version: ranker,
            shards=sum(each.region is region for each in shards_of(self.world.settings)),
            now=now or datetime.now(UTC),
        )

    def overlays(self, region: Region = Region.GLOBAL) -> list[tuple]:
        """Every overlay, whole."""
        return self.world.sql(
            "select * from seda.realtime_rankings order by user_id", region=region
        )
