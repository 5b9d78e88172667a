"""`python -m benchmarks.linking`: a newcomer links, and how long each step takes until their lists.

A seeded sandbox (smoke), the stand-in of Spotify over real HTTP, the real API functions' rows, the
real jobs of Dagster in this process. It prints seconds per step and how many of the new list's
artists are of a genre that the person loves at the provider. Nothing was computed before, so the
second step is a whole graph over the person's shard.
"""

import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import dagster as dg
import httpx
from pydantic import SecretStr

from seda.database.migrate import migrate
from seda.database.regions import Databases, Region
from seda.links.connector import Provider
from seda.links.oauth import challenge_of, new_verifier
from seda.links.syncing import link_place
from seda.sandbox.mock_providers.listeners import account_of, sandbox_artists
from seda.sandbox.mock_providers.running import running_mock_server
from seda.sandbox.profiles import SMOKE
from seda.sandbox.seeding import seed_sandbox
from seda.settings import Settings
from seda_assets.automation.links_sensor import imported_lists, provider_links
from seda_assets.definitions import build_definitions
from seda_assets.resources import Platform

LISTENER = "ada"
STEPS = {"links: read, map, taste": provider_links, "lists of the shard": imported_lists}
_PUBLISHED = """
    select coalesce(array_agg(distinct a.id), '{}') from seda.users u
    join seda.generation_pointer p on p.entity_type = 'artist' and p.arm = 'control'
    join seda.recommendations r on r.generation = p.generation and r.user_id = u.id
        and r.entity_type = 'artist' and r.rank <= 20
    join seda.artists a on a.id = r.entity_id where u.id = %s
"""
_OF_GENRES = """
    select count(distinct artist_id) from seda.artist_genres
    where artist_id = any (%s) and genre = any (%s)
"""


def main() -> None:
    """Run the drill in a home of its own."""
    with tempfile.TemporaryDirectory() as home, running_mock_server() as mock:
        settings = Settings(
            _env_file=None, home=Path(home), spotify_client_id="seda",
            spotify_base_url=mock.spotify_url,
        )  # fmt: skip
        databases = Databases(settings)
        migrate(databases)
        seed_sandbox(databases, SMOKE, seed=7, now=datetime.now(UTC) - timedelta(hours=1))
        try:
            with dg.DagsterInstance.ephemeral() as instance:
                platform = Platform(settings)
                person = _newcomer(platform)
                _link(platform, person)
                _timed(
                    "links: read, map, taste", lambda: _follow(provider_links, platform, instance)
                )
                _timed("lists of the shard", lambda: _follow(imported_lists, platform, instance))
                print(
                    f"of the first 20 artists {_hits(platform, person)} are of a loved genre; "
                    f"people who wait to be told: {_untold(platform)}"
                )
        finally:
            databases.close()


def _newcomer(platform: Platform) -> UUID:
    with platform.databases[Region.GLOBAL].transaction() as connection:
        ((user,),) = connection.execute(
            "insert into seda.users (auth_user_id, display_name) values (%s, 'Newcomer') "
            "returning id", [str(uuid4())],
        ).fetchall()  # fmt: skip
    return UUID(str(user))


def _link(platform: Platform, person: UUID) -> None:
    """Consent at the stand-in, and what the API's callback leaves."""
    connector, verifier = platform.connectors[Provider.SPOTIFY], new_verifier()
    address = connector.authorize_url("state", challenge_of(verifier))
    form = {name: each[0] for name, each in parse_qs(urlsplit(address).query).items()}
    answer = httpx.post(
        address.partition("?")[0], data=form | {"listener": LISTENER, "decision": "allow"},
        trust_env=False,
    )  # fmt: skip
    code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]
    refresh = connector.exchange(SecretStr(code), verifier).refresh
    assert refresh is not None
    sealed = platform.vault.seal(refresh, **link_place(person, Provider.SPOTIFY))
    with platform.databases[Region.GLOBAL].transaction() as connection:
        connection.execute(
            "insert into seda.linked_accounts (user_id, provider, refresh_token_encrypted, state, "
            "next_sync_at) values (%s, 'spotify', %s, 'pending', now())", [person, sealed],
        )  # fmt: skip


def _follow(sensor: dg.SensorDefinition, platform: Platform, instance: dg.DagsterInstance) -> None:
    """Run what the sensor asks for."""
    context = dg.build_sensor_context(instance=instance, resources={"platform": platform})
    found = sensor(context)
    (request,) = found.run_requests if isinstance(found, dg.SensorResult) else [found]
    assert isinstance(request, dg.RunRequest), request
    job = build_definitions(platform).resolve_job_def(sensor.job_name)
    assert job.execute_in_process(instance=instance, tags=request.tags).success


def _hits(platform: Platform, person: UUID) -> int:
    loved = account_of("spotify", LISTENER, sandbox_artists()).artists[:50]
    counts: dict[str, int] = {}
    for artist in loved:
        for genre in artist.genres:
            counts[genre] = counts.get(genre, 0) + 1
    most = sorted(counts, key=lambda genre: -counts[genre])[:4]
    with platform.databases[Region.GLOBAL].transaction() as connection:
        ((listed,),) = connection.execute(_PUBLISHED, [person]).fetchall()
        ((hits,),) = connection.execute(_OF_GENRES, [listed, most]).fetchall()
    return int(hits)


def _untold(platform: Platform) -> int:
    with platform.databases[Region.GLOBAL].transaction() as connection:
        ((left,),) = connection.execute("select count(*) from seda.import_changes").fetchall()
    return int(left)


def _timed(name: str, work: Callable[[], object]) -> None:
    started = time.perf_counter()
    work()
    print(f"{name}: {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    main()
