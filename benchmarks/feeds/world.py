"""A seeded database with published lists, suppressions, presence and recent events, for `feed.py`.

The lists are drawn, not ranked: what a request costs depends on how many cards there are and how
large, not on which. They are loaded and flipped by the pipeline's own publishing.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np
import orjson
import psycopg

from seda.catalogue.names import load_names
from seda.database.copy import read_fixed
from seda.database.migrate import upgrade
from seda.database.regions import Databases, Region, RegionalDatabase, Shard, shards_of
from seda.publishing.cards import ENTITY_TYPES, Reason, card_json, recommendation_id
from seda.publishing.generations import (
    load_cards,
    load_recommendations,
    open_generation,
    publish,
)
from seda.publishing.rows import CardRows, RecommendationRows
from seda.recommender.features import FEATURES
from seda.recommender.ranking import CONTRIBUTIONS, INPUTS
from seda.sandbox.profiles import PROFILES
from seda.sandbox.seeding import seed_sandbox

LISTED = 50
VERSION = "linear-tuned-1"
# Ids with their main genres, by which a person's listening lifts what they have not heard.
_ENTITIES = {
    "room": "select id, coalesce(genre, '') from seda.rooms order by id",
    "playlist": "select id, coalesce(genre, '') from seda.playlists order by id",
    "artist": "select distinct on (a.id) a.id, coalesce(g.genre, '') from seda.artists a "
    "left join seda.artist_genres g on g.artist_id = a.id order by a.id, g.weight desc, g.genre",
}


@dataclass(frozen=True)
class _Catalogue:
    """The entities of one type: ids (n, 16) uint8, names and main genres."""

    ids: np.ndarray
    names: list[str]
    genres: list[str]


def build(databases: Databases, profile: str) -> None:
    """Seed and publish, unless the databases hold that already; then bring it up to now."""
    now = datetime.now(UTC)
    for database in databases:
        upgrade(database)
    seed_sandbox(databases, PROFILES[profile], now=now)
    database = databases[Region.GLOBAL]
    with database.transaction() as connection:
        (published,) = connection.execute("select count(*) from seda.generation_pointer").fetchone()
    if not published:
        _publish_all(database, [s for s in shards_of(databases.settings)
                                if s.region is Region.GLOBAL], now)  # fmt: skip
    with database.connect(autocommit=True) as connection:
        _make_it_live(connection)
        connection.execute("vacuum analyze")
        connection.execute("checkpoint")


def _publish_all(database: RegionalDatabase, shards: list[Shard], now: datetime) -> None:
    random = np.random.default_rng(0)
    with database.transaction() as connection:
        entities = {kind: _catalogue(connection, kind) for kind in ENTITY_TYPES}
        everybody, buckets = read_fixed(
            connection, "select id, bucket from seda.users order by id", ["uuid", "int2"]
        )
    for shard in shards:
        people = everybody[(buckets >= shard.buckets[0]) & (buckets < shard.buckets[1])]
        rendered = [_rendered(kind, people, entities[kind], now, random) for kind in ENTITY_TYPES]
        generation = open_generation(
            database, shard=shard.key, model_version=VERSION, run_id=None, data_versions={}, now=now
        )
        load_recommendations(database, generation, [rows for rows, _ in rendered])
        load_cards(database, generation, [cards for _, cards in rendered])
        publish(database, generation, entity_types=ENTITY_TYPES, now=now)


def _catalogue(connection: psycopg.Connection, kind: str) -> _Catalogue:
    rows = connection.execute(_ENTITIES[kind]).fetchall()
    ids = np.frombuffer(b"".join(id.bytes for id, _ in rows), np.uint8).reshape(-1, 16)
    return _Catalogue(ids, load_names(connection, kind, ids), [genre for _, genre in rows])


def _rendered(
    kind: str, people: np.ndarray, catalogue: _Catalogue, now: datetime,
    random: np.random.Generator,
) -> tuple[RecommendationRows, CardRows]:  # fmt: skip
    """Everybody's fifty: distinct entities, popular ones more often."""
    ids, names = catalogue.ids, catalogue.names
    listed = min(LISTED, len(ids))
    stride = random.integers(1, max(2, len(ids) // listed), len(people))
    first = (random.random(len(people)) ** 3 * len(ids)).astype(int)
    positions = (first[:, None] + np.arange(listed) * stride[:, None]) % len(ids)
    flat, owners = positions.reshape(-1), np.repeat(np.arange(len(people)), listed)
    rows = len(flat)
    users, wanted = [bytes(each) for each in people], [bytes(each) for each in ids]
    made = [
        recommendation_id(users[owner], kind, wanted[position])
        for owner, position in zip(owners.tolist(), flat.tolist(), strict=True)
    ]
    scores = np.tile(np.linspace(0.95, 0.4, listed), len(people))
    is_new = random.random(rows) < 0.4
    reasons = [
        [Reason("because_you_listen", f"Because you listen to {names[n]}"),
         Reason("matches_genre", f"Because you like {catalogue.genres[n]}")]
        for n in range(min(500, len(names)))
    ]  # fmt: skip
    cards = [
        card_json(
            id=UUID(bytes=made[n]), entity_type=kind, entity_id=UUID(bytes=wanted[position]),
            name=names[position], score=round(float(scores[n]), 6),
            reasons=reasons[position % len(reasons)], is_new=bool(is_new[n]), model_version=VERSION,
        )
        for n, position in enumerate(flat.tolist())
    ]  # fmt: skip
    features = orjson.dumps([0.123] * len(FEATURES))
    contexts = [
        b'{"surface":"feed","friend_presence_count":0,"avatars_shown":0,"is_new":%s,"reasons":%s,'
        b'"features":%s}'
        % (b"true" if is_new[n] else b"false",
           orjson.dumps(reasons[position % len(reasons)]), features)
        for n, position in enumerate(flat.tolist())
    ]  # fmt: skip
    flat_ids = np.frombuffer(b"".join(made), np.uint8).reshape(-1, 16)
    times = {"created_at": now, "expires_at": now + timedelta(days=365), "model_version": VERSION}
    return (
        RecommendationRows(
            ids=flat_ids, user_ids=people[owners], entity_types=np.full(rows, kind),
            entity_ids=ids[flat], ranks=np.tile(np.arange(1, listed + 1), len(people)),
            scores=scores, contexts=contexts,
            signals=random.random((rows, len(INPUTS)), np.float32),
            contributions=random.random((rows, len(CONTRIBUTIONS)), np.float32), **times,
        ),
        CardRows(
            user_ids=people, entity_types=np.full(len(people), kind),
            lengths=np.full(len(people), listed), recommendation_ids=flat_ids,
            entity_ids=ids[flat], scores=scores.astype(np.float32), cards=cards, is_new=is_new,
            genres=[catalogue.genres[position] for position in flat.tolist()], **times,
        ),
    )  # fmt: skip


def _make_it_live(connection: object) -> None:
    """Two dismissals in everybody's lists, a few events of today, friends just seen."""
    connection.execute("update seda.room_presence set last_seen_at = now()")
    connection.execute(
        "insert into seda.suppressions (user_id, entity_type, entity_id, kind, suppressed_until) "
        "select user_id, entity_type, entity_ids[1 + place], 'not_interested', "
        "now() + interval '30 days' from seda.mv_user_top_candidates "
        "cross join generate_series(3, 17, 14) as place "
        "where cardinality(entity_ids) > 20 and entity_type <> 'room' on conflict do nothing"
    )
    connection.execute(
        "insert into seda.fact_events (event_id, user_id, event_type, props, created_at) "
        "select gen_random_uuid(), m.user_id, "
        "(array['rec_click', 'listen_30s', 'track_skip'])[1 + place % 3], "
        "jsonb_build_object('entity_type', m.entity_type, 'entity_id', m.entity_ids[place]), "
        "now() - interval '1 hour' * place from seda.mv_user_top_candidates m "
        "cross join generate_series(1, 6) as place where m.entity_type = 'artist' "
        "and not exists (select from seda.fact_events e where e.user_id = m.user_id "
        "                and e.created_at > now() - interval '12 hours')"
    )
