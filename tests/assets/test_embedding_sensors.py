"""Sensors of the catalogue and the queue: one run per change, nothing lost, nothing repeated."""

import time

import dagster as dg
import pytest

from seda.database.regions import Databases, Region
from seda.vectorstore.refresh import refresh_vectors
from seda_assets.automation.sensors import catalogue_changes, changed_types, waiting_texts
from seda_assets.definitions import build_definitions
from seda_assets.resources import Platform
from tests.vectorstore.catalogue import NOW, Clock, add_artists, artist_id, embeddings, settings_of

REPORTS = ("vector_indexes", "embedding_spend", "embedding_breakers")


@pytest.fixture
def platform(databases: Databases) -> Platform:
    return Platform(databases.settings, now=NOW)


def _tick(sensor, platform: Platform):
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, resources={"platform": platform})
        return sensor(context)


def _settled(platform: Platform) -> dict[str, int]:
    """What changed, once transactions of other tests on this server no longer hold it back."""
    for _ in range(600):
        if found := changed_types(platform):
            return found
        time.sleep(0.05)
    return {}


def _assets(request: dg.RunRequest) -> set[str]:
    return {key.path[-1] for key in request.asset_selection}


def test_a_change_asks_for_one_run_of_what_it_concerns(platform: Platform) -> None:
    assert isinstance(_tick(catalogue_changes, platform), dg.SkipReason)
    database = platform.databases[Region.EU]
    with database.transaction() as connection:
        connection.execute("insert into seda.rooms (id, name) values (%s, 'r')", [artist_id(1)])
    assert list(_settled(platform)) == ["eu/room"]
    first, second = _tick(catalogue_changes, platform), _tick(catalogue_changes, platform)
    assert _assets(first) == {"rooms_vectors", *REPORTS}
    assert first.run_key == second.run_key
    add_artists(database, range(2))
    while len(_settled(platform)) < 3:
        time.sleep(0.05)
    third = _tick(catalogue_changes, platform)
    assert third.run_key != first.run_key
    # A playlist's text names its artists.
    assert {"artists_vectors", "playlists_vectors", "rooms_vectors"} <= _assets(third)


def test_what_no_text_is_made_of_asks_for_nothing(platform: Platform) -> None:
    database = platform.databases[Region.GLOBAL]
    with database.transaction() as connection:
        connection.execute("insert into seda.rooms (id, name) values (%s, 'r')", [artist_id(1)])
    with database.transaction() as connection:
        connection.execute("delete from seda.catalogue_changes")
    with database.transaction() as connection:
        connection.execute("update seda.rooms set current_participants = 9, cover_art_url = 'x'")
    assert changed_types(platform) == {}


def test_a_change_is_seen_when_no_older_transaction_is_open(platform: Platform) -> None:
    database = platform.databases[Region.GLOBAL]
    with database.connect() as slow:
        slow.execute("insert into seda.rooms (id, name) values (%s, 'slow')", [artist_id(1)])
        with database.transaction() as quick:
            quick.execute("insert into seda.rooms (id, name) values (%s, 'quick')", [artist_id(2)])
        assert changed_types(platform) == {}
        slow.commit()
    assert list(_settled(platform)) == ["global/room"]


def test_the_job_takes_off_what_it_read_and_a_later_change_stays(platform: Platform) -> None:
    database = platform.databases[Region.GLOBAL]
    add_artists(database, range(3))
    job = build_definitions(platform).resolve_job_def("embed_catalogue")
    with dg.DagsterInstance.ephemeral() as instance:
        while len(_settled(platform)) < 2:
            time.sleep(0.05)
        request = _tick(catalogue_changes, platform)
        done = job.execute_in_process(instance=instance, asset_selection=request.asset_selection)
        assert done.success
    with database.transaction() as connection:
        left = connection.execute("select count(*) from seda.catalogue_changes").fetchone()
        assert left == (0,)
        assert connection.execute("select count(*) from seda.artists_vectors").fetchone() == (3,)
        connection.execute("update seda.artists set name = 'Renamed'")
    assert set(_settled(platform)) <= {"global/artist", "global/playlist"}


def test_waiting_texts_ask_for_a_run_when_their_time_has_come(
    databases: Databases, mock_server, tmp_path
) -> None:
    database = databases[Region.GLOBAL]
    add_artists(database, range(5))
    mock_server.set_profile("openai", error_rate=1.0)
    settings = settings_of(mock_server, tmp_path, cohere_api_key=None)
    found = embeddings(databases, settings)
    refresh_vectors(database, "artist", found, worker="w", clock=Clock())
    early, later = Platform(databases.settings, now=NOW), NOW.replace(hour=4)
    assert isinstance(_tick(waiting_texts, early), dg.SkipReason)
    due = Platform(databases.settings, now=later)
    request = _tick(waiting_texts, due)
    assert _assets(request) == {"artists_vectors", *REPORTS}
    assert _tick(waiting_texts, due).run_key == request.run_key
