"""Real-time rankings: who gets one, what it says, how the feed reads it, and when it goes."""

import json
import math
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from seda.database.regions import Region
from seda.publishing.overlays import CHANNEL, LIFETIME
from seda.recommender.ranking import LinearWeights
from tests.serving.ranked_world import WEIGHTS, RankedWorld
from tests.serving.serving_world import Listener, World, names


@pytest.fixture
def ranked(world: World) -> RankedWorld:
    return RankedWorld(world)


@pytest.fixture
def pair(ranked: RankedWorld) -> tuple[Listener, Listener]:
    """Ada, who has a list, and her friend Ben."""
    world = ranked.world
    ada, ben = world.person("Ada"), world.person("Ben")
    world.befriend(ada, ben)
    ranked.publish(ada)
    return ada, ben


async def _order(api, person: Listener) -> list[str]:
    page = names(await api.page("/recommendations/rooms", person, limit=30))
    # What is shown in vain sinks: not what this is about.
    api.world.sql("delete from seda.impression_pages", region=person.region)
    return page


def _row(ranked: RankedWorld, columns: str = "generation, source, ranks, presence, lifts") -> tuple:
    (row,) = ranked.world.sql(f"select {columns} from seda.realtime_rankings")
    return row


async def test_a_friend_moves_the_list_and_no_friend_counts_twice(api, ranked, pair) -> None:
    ada, ben = pair
    published = [room.name for room in ranked.order(ada)]
    assert await _order(api, ada) == published
    room = ranked.order(ada)[20]
    ranked.event(ben, "join", room)
    live = await _order(api, ada)
    assert published.index(room.name) - live.index(room.name) == 3  # at once: half of eight places
    report = ranked.rerank()
    assert (report.people, report.lists, report.written) == (1, 1, 1)
    _, source, ranks, presence, lifts = _row(ranked)
    assert source == "real-time"
    place = ranks[20]
    assert place < 15
    assert [seen > 0 for seen in presence].index(True) == 20
    assert lifts[20] > 4
    # The order of the overlay exactly: the friend is in it, and live order adds nothing.
    page = await api.page("/recommendations/rooms", ada, limit=30)
    by_rank = sorted(range(30), key=lambda position: ranks[position])
    assert names(page) == [published[position] for position in by_rank]
    assert page["generation"] is not None
    item = page["items"][place - 1]
    explained = await api.page(f"/recommendations/{item['id']}/explanation", ada)
    assert [each["kind"] for each in explained["live"]] == ["shown"]
    assert (explained["rank"], explained["signals"]["presence"]) == (place, 6.0)
    assert explained["score"] == pytest.approx(item["score"], abs=1e-6)
    given = {each["term"]: each["contribution"] for each in explained["contributions"]}
    assert given["presence"] == pytest.approx(WEIGHTS.presence * 6.0, abs=1e-4)
    total = sum(given.values())
    assert 1 / (1 + math.exp(-total)) == pytest.approx(item["score"], abs=1e-5)
    assert item["social"]["count"] == 1


@pytest.mark.parametrize("who_left", [0, 1])
def test_who_is_a_friend_for_one_side_only_moves_nothing(ranked, pair, who_left) -> None:
    ranked.world.sql("delete from seda.friends where user_id = %s", pair[who_left].id)
    ranked.event(pair[1], "join", ranked.order(pair[0])[20])
    assert ranked.rerank().people == 0
    assert ranked.overlays() == []


async def test_the_card_shows_the_score_that_its_place_rests_on(api, ranked, pair) -> None:
    ada, ben = pair
    ranked.event(ben, "join", ranked.order(ada)[20])
    ranked.rerank()
    (scores,) = _row(ranked, "scores")
    page = await api.page("/recommendations/rooms", ada, limit=30)
    shown = {item["entity_id"]: item["score"] for item in page["items"]}
    for room, score in zip(ranked.order(ada), scores, strict=True):
        assert shown[str(room.id)] == pytest.approx(score, abs=1e-6)


async def test_who_left_since_gives_back_what_the_order_owes_to_them(api, ranked, pair) -> None:
    ada, ben = pair
    published = [room.name for room in ranked.order(ada)]
    room = ranked.order(ada)[20]
    ranked.event(ben, "join", room)
    ranked.rerank()
    assert (await _order(api, ada)).index(room.name) < 15
    ranked.event(ben, "leave", room)
    assert (await _order(api, ada)).index(room.name) >= 18  # at once, about where it was
    report = ranked.rerank()
    assert (report.written, report.dropped) == (0, 1)
    assert await _order(api, ada) == published


def test_who_said_that_they_left_is_gone_though_they_linger(ranked, pair) -> None:
    ada, ben = pair
    ranked.event(ben, "join", ranked.order(ada)[20])
    for departure, written in (("lost", 1), ("said", 0)):
        ranked.world.sql("update seda.room_presence set departure = %s", departure)
        ranked.world.sql("update seda.event_cursors set transaction_id = '0'")
        assert ranked.rerank().written == written
    assert ranked.overlays() == []


async def test_friends_of_the_night_are_not_counted_again_by_day(api, ranked) -> None:
    world = ranked.world
    ada, ben = world.person("Ada"), world.person("Ben")
    world.befriend(ada, ben)
    ranked.publish(ada)
    before = ranked.order(ada)
    there = ranked.rooms.index(before[20])
    ranked.publish(ada, present={there: 1})
    published = [room.name for room in ranked.order(ada)]
    assert published.index(before[20].name) < 15
    world.enter(before[20], ben)
    assert await _order(api, ada) == published


async def test_a_ranker_that_knows_nothing_of_presence_leaves_it_to_live_order(
    api, ranked, pair
) -> None:
    ada, ben = pair
    published = [room.name for room in ranked.order(ada)]
    ranked.event(ben, "join", ranked.order(ada)[20])
    live = await _order(api, ada)
    ranked.world.sql(
        "insert into seda.realtime_rankings (user_id, entity_type, generation, model_version, "
        "ranks, scores, presence, lifts, signals, computed_at, expires_at) "
        "select m.user_id, 'room', m.generation, 'x', array(select generate_series(1, 30)), "
        "m.scores, array_fill(0.5::real, '{30}'), array_fill(0::real, '{30}'), "
        "array_fill(0::real, '{30}'), now(), now() + interval '1 h' "
        "from seda.mv_user_top_candidates m"
    )
    assert published != live == await _order(api, ada)


def test_who_hides_is_blocked_or_gone_moves_nothing_and_concerns_nobody(ranked, pair) -> None:
    ada, ben = pair
    world = ranked.world
    others = [world.person("Cem", hidden=True), world.person("Dan"), world.person("Eve")]
    world.befriend(ada, *others)
    world.befriend(others[1], ada, kind="block")
    now = datetime.now(UTC)
    room, another = ranked.order(ada)[20], ranked.order(ada)[10]
    ranked.event(ben, "join", room)
    ranked.rerank(now=now)
    alone = ranked.overlays()
    for hidden in others[:2]:
        ranked.event(hidden, "join", another)
    assert ranked.rerank(now=now).people == 0
    assert ranked.overlays() == alone
    ranked.event(ben, "leave", room)
    ranked.event(ben, "join", room)
    ranked.rerank(now=now)
    # Byte for byte as without them, but for when Ben was last seen.
    world.sql("update seda.room_presence set last_seen_at = %s", now)
    ranked.event(ben, "vote", room)
    with_hidden = _again(ranked, ben, room, now)
    world.sql("delete from seda.room_presence where user_id <> %s", ben.id)
    assert _again(ranked, ben, room, now) == with_hidden


def _again(ranked: RankedWorld, ben: Listener, room, now: datetime) -> list[tuple]:
    ranked.world.sql(
        "insert into seda.social_events (event_id, user_id, kind, entity_type, entity_id, "
        "occurred_at) values (gen_random_uuid(), %s, 'join', 'room', %s, now())",
        *(ben.id, room.id),
    )
    assert ranked.rerank(now=now).written == 1
    return ranked.overlays()


def test_hiding_blocking_and_leaving_for_good_undo_the_overlay_at_once(ranked, pair) -> None:
    ada, ben = pair
    world = ranked.world
    room = ranked.order(ada)[20]
    for undo in (
        "update seda.users set privacy_settings = '{{\"hide_presence\": true}}' where id = '{ben}'",
        "insert into seda.friends (user_id, friend_user_id, relationship_type) "
        "values ('{ben}', '{ada}', 'block')",
        "delete from seda.friends where user_id = '{ben}' and relationship_type = 'friend'",
        "update seda.users set deleted_at = now() where id = '{ben}'",
        "delete from seda.users where id = '{ben}'",
    ):
        world.sql("update seda.users set privacy_settings = '{}', deleted_at = null")
        world.sql("delete from seda.friends")
        world.befriend(ada, ben)
        world.sql("delete from seda.room_presence")
        ranked.event(ben, "join", room)
        ranked.rerank()
        assert len(ranked.overlays()) == 1, undo
        world.sql(undo.format(ada=ada.id, ben=ben.id))
        assert ranked.overlays() == [], undo


async def test_suppressions_are_never_in_it(api, ranked, pair) -> None:
    ada, ben = pair
    room = ranked.order(ada)[20]
    ranked.event(ben, "join", room)
    ranked.rerank()
    before = _row(ranked)
    ranked.world.suppress(ada, room)
    assert room.name not in await _order(api, ada)
    ranked.event(ben, "leave", room)
    ranked.event(ben, "join", room)
    ranked.rerank()
    assert _row(ranked, "generation, source, ranks") == before[:3]
    assert room.name not in await _order(api, ada)
    ranked.world.sql("delete from seda.suppressions")
    assert (await _order(api, ada)).index(room.name) == before[2][20] - 1


async def test_pages_repeat_and_lose_nothing_when_an_overlay_comes_and_goes_between_them(
    api, ranked, pair
) -> None:
    ada, ben = pair
    everything = {room.name for room in ranked.order(ada)}
    seen: list[str] = []
    page = await api.page("/recommendations/rooms", ada, limit=5)
    for step in range(10):
        seen += names(page)
        if page["next_cursor"] is None:
            break
        if step % 2 == 0:
            ranked.event(ben, "join", ranked.order(ada)[-1 - step])
        else:
            ranked.event(ben, "leave", ranked.order(ada)[-step])
        ranked.rerank()
        page = await api.page("/recommendations/rooms", ada, limit=5, cursor=page["next_cursor"])
    assert sorted(seen) == sorted(everything)


async def test_a_flip_while_it_is_computed_leaves_the_new_list_as_published_until_the_replay(
    api, ranked, pair
) -> None:
    ada, ben = pair
    room = ranked.order(ada)[20]
    ranked.event(ben, "join", room)
    ranked.rerank()
    old = _row(ranked)[0]
    new = ranked.publish(ada)
    published = [each.name for each in ranked.order(ada)]
    live = await _order(api, ada)
    assert published.index(room.name) - live.index(room.name) == 3  # the live term alone
    report = ranked.rerank()  # nobody came: the flip is what it is about
    assert (report.people, report.written) == (1, 1)
    generation, _, ranks, *_ = _row(ranked)
    assert generation == new != old
    assert (await _order(api, ada)).index(room.name) == ranks[20] - 1


async def test_it_ends_by_itself_and_is_renewed_while_friends_are_there(api, ranked, pair) -> None:
    ada, ben = pair
    room, now = ranked.order(ada)[20], datetime.now(UTC)
    ranked.event(ben, "join", room)
    ranked.rerank(now=now - LIFETIME - timedelta(seconds=1))
    assert ranked.overlays()
    published = [each.name for each in ranked.order(ada)]
    assert published.index(room.name) - (await _order(api, ada)).index(room.name) == 3
    assert ranked.rerank(now=now).written == 1
    ranked.world.sql("delete from seda.room_presence")
    assert ranked.rerank(now=now + timedelta(minutes=5)).people == 0
    assert ranked.rerank(now=now + timedelta(minutes=25)).dropped == 1


def test_lists_whose_scores_another_ranker_gave_are_left_alone(ranked, pair) -> None:
    ada, ben = pair
    ranked.event(ben, "join", ranked.order(ada)[20])
    report = ranked.rerank(ranker=LinearWeights(content=0.9))
    assert (report.lists, report.written, report.of_another_ranker) == (0, 0, 1)
    ranked.event(ben, "join", ranked.order(ada)[21])
    assert ranked.rerank(ranker=None).of_another_ranker == 1


def test_each_region_ranks_its_own_people(ranked) -> None:
    world = ranked.world
    ada, ben = world.person("Ada", Region.EU), world.person("Ben", Region.EU)
    world.befriend(ada, ben)
    ranked.publish(ada)
    ranked.event(ben, "join", ranked.order(ada)[20])
    assert ranked.rerank(Region.GLOBAL).people == 0
    assert ranked.rerank(Region.EU).written == 1
    assert len(ranked.overlays(Region.EU)) == 1


def test_the_real_time_service_is_told_of_everybody_when_it_is_committed(ranked) -> None:
    world = ranked.world
    ben = world.person("Ben")
    people = [world.person(f"friend {number}") for number in range(3)]
    world.befriend(ben, *people)
    ranked.publish(*people)
    with psycopg.connect(world.databases[Region.GLOBAL].url, autocommit=True) as listening:
        listening.execute(f"listen {CHANNEL}")
        ranked.event(ben, "join", ranked.order(people[0])[20])
        ranked.rerank()
        (notice,) = listening.notifies(timeout=5, stop_after=1)
    payload = json.loads(notice.payload)
    told = {row[0] for row in ranked.overlays()}
    assert told
    assert set(payload["users"]) == {str(user) for user in told}
    assert (payload["entity_types"], payload["reason"]) == (["room"], "presence")
    assert datetime.fromisoformat(payload["at"]).tzinfo is not None
