"""A refresh embeds only what it must, loses nothing in an outage, and keeps regions apart."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest

from seda.database.regions import Databases, Region
from seda.embeddings import ledger
from seda.embeddings.providers import cohere, openai
from seda.embeddings.routes import embeddings_of
from seda.embeddings.space_rows import PromotionRefusedError, active_space, space_states
from seda.progress import SilentProgress
from seda.vectorstore.promotion import completeness, promote_space
from seda.vectorstore.refresh import UnroutedSpaceError, VectorRefresh, fill_space, refresh_vectors
from seda.vectorstore.rows import load_vectors
from tests.vectorstore.catalogue import (
    NOW,
    Clock,
    add_artists,
    artist_id,
    embeddings,
    settings_of,
)

ARTISTS = 40


@pytest.fixture
def world(databases: Databases, mock_server, tmp_path):
    add_artists(databases[Region.GLOBAL], range(ARTISTS))
    return _World(databases, mock_server, settings_of(mock_server, tmp_path))


class _World:
    def __init__(self, databases, mock, settings) -> None:
        self.databases, self.mock, self.settings = databases, mock, settings
        self.clock = Clock()

    def refresh(self, region: Region = Region.GLOBAL, **policy) -> VectorRefresh:
        found = embeddings(self.databases, self.settings, region, **policy)
        return refresh_vectors(
            self.databases[region], "artist", found, worker="w", clock=self.clock
        )

    def rows(self, query: str, region: Region = Region.GLOBAL) -> list[tuple]:
        with self.databases[region].transaction() as connection:
            return connection.execute(query).fetchall()

    def change(self, query: str, *values, region: Region = Region.GLOBAL) -> None:
        with self.databases[region].transaction() as connection:
            connection.execute(query, values)

    def vectors(self, space, region: Region = Region.GLOBAL) -> int:
        with self.databases[region].transaction() as connection:
            return len(load_vectors(connection, "artist", space)[0])

    def outage(self, *providers: str) -> None:
        for provider in providers:
            self.mock.set_profile(provider, error_rate=1.0)


def test_the_first_refresh_embeds_everything_and_the_second_nothing(world) -> None:
    first = world.refresh()
    assert (first.total, first.embedded, first.waiting) == (ARTISTS, {"new_text": ARTISTS}, {})
    assert world.vectors(openai.SPACE) == ARTISTS
    assert world.rows("select id, state from seda.embedding_spaces") == [
        (openai.SPACE.id, "active")
    ]
    sent = len(world.mock.requests())
    assert world.refresh().embedded == {}
    assert len(world.mock.requests()) == sent


def test_spend_is_settled_with_the_vectors_and_equals_the_bill(world) -> None:
    world.refresh()
    ((states, tokens, usd),) = world.rows(
        "select array_agg(distinct state), sum(tokens), sum(usd) from seda.embedding_spend"
    )
    assert states == ["settled"]
    assert tokens == world.mock.billed_tokens("openai")
    assert usd == pytest.approx(tokens * Decimal("2e-8"), abs=Decimal("1e-7"))


def test_only_a_changed_text_is_embedded_again(world) -> None:
    world.refresh()
    world.mock.reset()
    world.change("update seda.artists set name = 'Another name' where id = %s", artist_id(3))
    world.change("update seda.artist_genres set genre = 'jazz' where artist_id = %s", artist_id(5))
    assert world.refresh().embedded == {"changed_text": 2}
    assert len(world.mock.texts("openai")) == 2


def test_what_is_deleted_loses_its_vector(world) -> None:
    world.refresh()
    world.change("update seda.artists set deleted_at = now() where id = %s", artist_id(3))
    assert world.refresh().removed == 1
    assert world.vectors(openai.SPACE) == ARTISTS - 1


def test_unchanged_text_comes_of_age_within_sixty_days(world) -> None:
    world.refresh()
    world.clock.pass_time(days=29)
    assert world.refresh().embedded == {}
    world.clock.pass_time(days=16)
    partly = world.refresh().embedded["re_embed"]
    assert 0 < partly < ARTISTS
    world.clock.pass_time(days=15)
    assert world.refresh().embedded["re_embed"] >= ARTISTS - partly


def test_at_eighty_percent_the_old_wait_and_the_new_go_on(world) -> None:
    world.refresh()
    spent = Decimal(world.rows("select sum(usd) from seda.embedding_spend")[0][0])
    world.clock.pass_time(days=15)  # within the month
    world.change("update seda.embedding_spend set usd = usd * 85")
    world.change("update seda.artists_vectors set computed_at = computed_at - interval '70 days'")
    add_artists(world.databases[Region.GLOBAL], range(100, 101))
    done = world.refresh(cap_usd=spent * 100)
    assert done.embedded == {"new_text": 1}
    assert done.waiting == {}


def test_at_the_cap_new_texts_wait_in_the_queue_until_there_is_money(world) -> None:
    done = world.refresh(cap_usd=Decimal("0.000001"))
    assert done.waiting == {"budget_stopped": ARTISTS}
    assert world.mock.requests() == []
    world.clock.pass_time(days=1)
    assert world.refresh().embedded == {"new_text": ARTISTS}
    assert world.rows("select count(*) from seda.embedding_queue") == [(0,)]


def test_in_an_outage_old_vectors_serve_new_texts_wait_and_the_standby_gets_them(world) -> None:
    world.refresh()
    add_artists(world.databases[Region.GLOBAL], range(100, 110))
    world.outage("openai")
    done = world.refresh()
    assert done.embedded == {}
    assert sum(done.waiting.values()) == 10
    assert done.failed_over == 10
    assert done.without_vector == 10
    assert world.vectors(openai.SPACE) == ARTISTS
    assert world.vectors(cohere.SPACE) == 10
    states = dict(world.rows("select id, state from seda.embedding_spaces"))
    assert states == {openai.SPACE.id: "active", cohere.SPACE.id: "standby"}


def test_after_the_outage_the_queue_drains_and_nothing_is_lost(world) -> None:
    world.outage("openai", "cohere")
    done = world.refresh()
    assert sum(done.waiting.values()) == ARTISTS
    assert world.vectors(openai.SPACE) == 0
    waits = world.rows("select count(*), min(attempts) from seda.embedding_queue")
    assert waits == [(ARTISTS, 1)]
    world.mock.reset()
    world.clock.pass_time(minutes=5)
    done = world.refresh()
    assert done.embedded == {"new_text": ARTISTS}
    assert world.rows("select count(*) from seda.embedding_queue") == [(0,)]
    phases = [row[0] for row in world.rows(
        "select to_phase from seda.circuit_breaker_transitions where provider = 'openai' "
        "order by id")]  # fmt: skip
    assert phases == ["open", "half_open", "closed"]


@pytest.mark.parametrize(
    "profile",
    [
        {"error_rate": 0.05, "seed": 1},
        {"error_rate": 1.0},
        {"slow_share": 0.1, "slow_latency_seconds": 1.5},
        {"rate_limit_rate": 0.7, "retry_after_seconds": 0, "seed": 2},
        {"cut_rate": 0.5, "seed": 3},
        {"malformed_rate": 0.5, "seed": 4},
    ],
    ids=lambda profile: next(iter(profile)) + str(next(iter(profile.values()))),
)
def test_whatever_a_provider_does_each_text_has_a_vector_or_waits(world, profile) -> None:
    world.mock.set_profile("openai", **profile)
    world.refresh()
    have = {row[0] for row in world.rows(
        "select v.entity_id from seda.artists_vectors v join seda.embedding_spaces s "
        "on s.id = v.space_id where s.state = 'active'")}  # fmt: skip
    wait = {row[0] for row in world.rows("select entity_id from seda.embedding_queue")}
    assert have | wait == {artist_id(number) for number in range(ARTISTS)}
    assert not have & wait
    world.clock.pass_time(minutes=5)
    ledger_tokens = "select coalesce(sum(tokens), 0) from seda.embedding_spend where provider = %s"
    with world.databases[Region.GLOBAL].transaction() as connection:
        ledger.expire(connection, now=world.clock())
        ((booked,),) = connection.execute(ledger_tokens, ["openai"])
    assert booked >= world.mock.billed_tokens("openai")
    world.mock.reset()
    for _ in range(3):
        world.clock.pass_time(minutes=10)
        world.refresh()
    assert world.vectors(openai.SPACE) == ARTISTS


def test_a_text_that_is_refused_waits_longer_each_time_and_spoils_nothing(world) -> None:
    world.change("update seda.artists set name = %s where id = %s", "x" * 40_000, artist_id(7))
    done = world.refresh()
    assert done.embedded == {"new_text": ARTISTS - 1}
    assert done.waiting == {"refused": 1}
    assert world.refresh().waiting == {"held_back": 1}
    for _ in range(3):
        world.clock.pass_time(days=2)
        world.refresh()
    assert world.rows("select attempts, reason from seda.embedding_queue") == [(4, "refused")]
    world.change("update seda.artists set name = 'Short' where id = %s", artist_id(7))
    assert world.refresh().embedded == {"new_text": 1}


def test_two_refreshes_at_once_pay_once(world) -> None:
    threads = [threading.Thread(target=world.refresh) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(world.mock.texts("openai")) == ARTISTS
    assert world.vectors(openai.SPACE) == ARTISTS


_KILLED = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from seda.database.regions import Region, RegionalDatabase
from seda.embeddings.routes import embeddings_of
from seda.settings import Settings
from seda.vectorstore.refresh import refresh_vectors
settings = Settings(_env_file=None)
database = RegionalDatabase(Region.GLOBAL, sys.argv[1])
with database.transaction() as connection:
    found = embeddings_of(settings, Region.GLOBAL, connection)
refresh_vectors(database, "artist", found, worker="doomed", clock=lambda: datetime.now(UTC))
"""


def test_a_killed_refresh_loses_nothing_and_its_bill_is_in_the_ledger(world) -> None:
    add_artists(world.databases[Region.GLOBAL], range(100, 900))
    world.mock.set_profile("openai", latency_seconds=0.15)
    environment = {
        **os.environ,
        "OPENAI_API_KEY": world.settings.openai_api_key.get_secret_value(),
        "SEDA_OPENAI_BASE_URL": world.mock.openai_url,
        "SEDA_HOME": str(world.settings.home),
        "SEDA_EMBEDDING_BATCH_SIZE": "64",
    }
    url = world.databases[Region.GLOBAL].url
    child = subprocess.Popen([sys.executable, "-W", "ignore", "-c", _KILLED, url], env=environment)
    try:
        while len(world.mock.requests()) < 6:
            assert child.poll() is None, "it ended before it could be killed"
            time.sleep(0.01)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    while len(world.mock.requests()) < 6:
        time.sleep(0.01)
    time.sleep(0.3)  # what was under way is served, and billed
    billed = world.mock.billed_tokens("openai")
    with world.databases[Region.GLOBAL].transaction() as connection:
        ledger.expire(connection, now=datetime.now(UTC) + ledger.LIFETIME)
        ((booked, open_),) = connection.execute(
            "select sum(tokens) filter (where state = 'settled'), "
            "count(*) filter (where state in ('reserved', 'sent')) from seda.embedding_spend"
        )
    assert open_ == 0
    assert booked >= billed > 0
    stored = world.vectors(openai.SPACE)
    world.mock.reset()
    done = world.refresh(batch_size=64, total_seconds=6)
    assert done.embedded == {"new_text": ARTISTS + 800 - stored}
    assert world.vectors(openai.SPACE) == ARTISTS + 800


def test_no_text_of_the_eu_reaches_another_endpoint_whatever_fails(world) -> None:
    eu = world.databases[Region.EU]
    add_artists(eu, range(200, 230), word="Europäer")
    world.refresh()
    world.mock.set_profile("runner", error_rate=0.3, seed=9)
    world.refresh(Region.EU)
    world.outage("runner")
    add_artists(eu, range(300, 310), word="Europäer")
    world.clock.pass_time(minutes=5)
    done = world.refresh(Region.EU)
    assert sum(done.waiting.values()) >= 10
    assert done.failed_over == 0
    for provider in ("openai", "cohere"):
        assert not any("Europäer" in text for text in world.mock.texts(provider))
    assert all("Europäer" in text for text in world.mock.texts("runner"))
    assert len(world.mock.texts("runner")) > 0
    regions = world.rows("select distinct region from seda.artists_vectors", Region.EU)
    assert regions == [("eu",)]


def test_the_eus_runner_is_asked_one_thing_at_a_time(world) -> None:
    policies = {}
    for region in Region:
        with world.databases[region].transaction() as connection:
            policies[region] = embeddings_of(world.settings, region, connection).policy
    assert policies[Region.EU].concurrency == 1
    assert policies[Region.GLOBAL].concurrency > 1


def test_a_shadow_space_gets_a_stable_sample_and_nobody_reads_it(world) -> None:
    add_artists(world.databases[Region.GLOBAL], range(100, 1100))
    world.settings = world.settings.model_copy(
        update={"embedding_shadow": "cohere", "embedding_shadow_share": 0.05}
    )
    done = world.refresh()
    assert 20 < done.shadowed < 90
    assert world.vectors(cohere.SPACE) == done.shadowed
    assert world.refresh().shadowed == 0
    with world.databases[Region.GLOBAL].transaction() as connection:
        assert space_states(connection) == {openai.SPACE: "active", cohere.SPACE: "shadow"}


def test_a_key_that_is_set_later_switches_nothing(world) -> None:
    keyless = world.settings.model_copy(update={"openai_api_key": None, "cohere_api_key": None})
    with_keys, world.settings = world.settings, keyless
    assert world.refresh().embedded == {"new_text": ARTISTS}
    world.settings = with_keys
    world.refresh()
    assert world.mock.requests() == []
    with world.databases[Region.GLOBAL].transaction() as connection:
        active = active_space(connection)
    assert active is not None
    assert active.provider == "local"


def test_a_space_whose_provider_is_gone_keeps_its_vectors_and_new_texts_wait(world) -> None:
    world.refresh()
    add_artists(world.databases[Region.GLOBAL], range(100, 103))
    world.settings = world.settings.model_copy(update={"openai_api_key": None})
    done = world.refresh()
    assert done.waiting == {"no_provider": 3}
    assert world.vectors(openai.SPACE) == ARTISTS


def test_a_standby_is_promoted_when_it_is_complete_and_not_before(world) -> None:
    database = world.databases[Region.GLOBAL]
    world.refresh()
    with pytest.raises(PromotionRefusedError, match="lacks vectors of 40 artists"):
        promote_space(database, cohere.SPACE, actor="op", now=NOW)
    _fill(world, cohere.SPACE)
    world.change("update seda.artists set name = 'New' where id = %s", artist_id(1))
    with pytest.raises(PromotionRefusedError, match="1 artists"):
        promote_space(database, cohere.SPACE, actor="op", now=NOW)
    _fill(world, cohere.SPACE)
    assert promote_space(database, cohere.SPACE, actor="op", now=NOW) == openai.SPACE
    with database.transaction() as connection:
        assert active_space(connection) == cohere.SPACE
        assert completeness(connection, cohere.SPACE, "artist").lacking == 0
        audit = connection.execute("select actor, action, subject from seda.audit_log").fetchall()
    assert audit == [("op", "embedding_space_promoted", cohere.SPACE.id)]
    _fill(world, openai.SPACE)
    assert promote_space(database, openai.SPACE, actor="op", now=NOW) == cohere.SPACE


def _fill(world, space) -> VectorRefresh:
    return fill_space(
        world.databases[Region.GLOBAL],
        "artist",
        embeddings(world.databases, world.settings),
        space,
        worker="w",
        clock=world.clock,
        progress=SilentProgress(),
    )


def test_the_active_space_and_the_unknown_cannot_be_filled(world) -> None:
    world.refresh()
    with pytest.raises(UnroutedSpaceError, match="is active"):
        _fill(world, openai.SPACE)
    other = replace(openai.SPACE, version="9")
    with pytest.raises(UnroutedSpaceError, match="No configured provider"):
        _fill(world, other)


def test_a_failed_over_vector_is_of_the_standbys_space_bit_for_bit(world) -> None:
    world.outage("openai")
    world.refresh()
    with world.databases[Region.GLOBAL].transaction() as connection:
        ids, vectors = load_vectors(connection, "artist", cohere.SPACE)
        assert len(load_vectors(connection, "artist", openai.SPACE)[0]) == 0
    lengths = np.linalg.norm(vectors.astype(np.float32), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-2)
    assert len(ids) == ARTISTS
