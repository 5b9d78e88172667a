"""The erasure drill: people are deleted in the middle of a nightly run, and leave no byte.

Run with `python -m benchmarks.erasure`. A made-up world of 300 people runs through the nightly job;
as soon as that has read its snapshot, one person of each region deletes their account and a third
one their imports, and the purge runs while the night goes on. Then there is another night, tables
are rewritten, and everything is searched, the server's write-ahead log too. Every address that the
process connects to is recorded, and every text that a provider is sent.
"""

import logging
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import dagster as dg
from pydantic import SecretStr

from seda.database.embedded import EmbeddedServer
from seda.database.migrate import migrate
from seda.database.regions import Region
from seda.privacy.erasure import Places
from seda.privacy.notices import LocalMail
from seda.privacy.rewriting import rewrite_regions
from seda.privacy.running import run_privacy_jobs
from seda.privacy.traces import Traces
from seda.privacy.verification import verify_erasure
from seda.sandbox.mock_providers.running import KEY, MockServer, running_mock_server
from seda.sandbox.profiles import SMOKE
from seda.sandbox.seeding import seed_sandbox
from seda.settings import Settings
from seda_assets.automation.jobs import all_shards
from seda_assets.definitions import build_definitions
from seda_assets.resources import Platform

_LISTENERS = """
    select u.id, u.auth_user_id::uuid, u.display_name from seda.users u
    where exists (select from seda.activity_counts c where c.user_id = u.id)
      and u.auth_user_id is not null order by u.id limit 2
"""
_SERVED = """
    select count(distinct user_id), count(*) filter (where user_id = any (%s))
    from seda.mv_user_top_candidates join seda.generation_pointer using (generation, entity_type)
"""


def main() -> None:
    """Prints a line per step; exits with 1 if somebody is left or came back."""
    logging.disable(logging.WARNING)
    connected: set[str] = set()
    sys.addaudithook(
        lambda event, args: connected.add(str(args[1])) if event == "socket.connect" else None
    )
    with tempfile.TemporaryDirectory() as folder, running_mock_server() as mock:
        server = EmbeddedServer(Path(folder) / "pg")
        settings = Settings(
            _env_file=None,
            home=Path(folder) / "home",
            database_url=server.uri("global"),
            eu_database_url=server.uri("eu"),
            dagster_database_url=server.uri("dagster"),
            openai_api_key=SecretStr(KEY),
            openai_base_url=mock.openai_url,
        )
        platform = Platform(settings)
        migrate(platform.databases)
        seed_sandbox(platform.databases, SMOKE, seed=7, now=datetime.now(UTC))
        with dg.DagsterInstance.ephemeral() as instance:
            failed = _drill(platform, instance, mock, connected)
        server.stop()
    sys.exit(1 if failed else 0)


def _drill(
    platform: Platform, instance: dg.DagsterInstance, mock: MockServer, connected: set[str]
) -> bool:
    places = Places(platform.databases, platform.storages)
    chosen = {region: _listeners(platform, region) for region in Region}
    gone = {region: people[0] for region, people in chosen.items()}
    withdrawn = chosen[Region.EU][1]
    deleted_at: list[float] = []

    def told(entry: dg.EventLogEntry) -> None:
        event = entry.dagster_event
        materialised = event is not None and event.is_step_materialization
        if deleted_at or not materialised or event.asset_key is None:
            return
        if event.asset_key.path[-1] == "interaction_matrices":
            deleted_at.append(time.perf_counter())
            for region, person in gone.items():
                _ask(platform, region, person[0], "account")
            _ask(platform, Region.EU, withdrawn[0], "imports")
            print("in the middle of the run:", dict(_work(places).jobs))

    assert _night(platform, instance, told).success
    assert deleted_at, "the run never read its snapshot"
    failed = not _report(platform, gone, withdrawn, "after the run that was under way")
    print("after it:", dict(_work(places, timedelta(hours=1)).jobs))
    assert _night(platform, instance).success
    failed |= not _report(platform, gone, withdrawn, "after another night", still_withdrawn=False)
    started = time.perf_counter()
    rewritten = rewrite_regions(platform.databases, platform.now, wanted=lambda standing: True)
    for region, done in rewritten.items():
        print(f"{region}: {len(done.tables)} tables rewritten, {len(done.locked)} locked, "
              f"log renewed: {done.log_renewed}")  # fmt: skip
    print(f"rewriting took {time.perf_counter() - started:.1f} s")
    for region, (id, sub, name) in gone.items():
        started = time.perf_counter()
        traces = Traces((id, sub), ())
        found = verify_erasure(platform.databases, platform.storages, traces)
        print(f"{region}: {len(found.findings)} findings in {len(found.places)} places "
              f"({time.perf_counter() - started:.1f} s)")  # fmt: skip
        for each in found.findings:
            print("   ", each)
        failed |= not found.clean
        assert name
    return failed | _leaks(platform, mock, connected)


def _night(
    platform: Platform,
    instance: dg.DagsterInstance,
    told: Callable[[dg.EventLogEntry], None] | None = None,
) -> dg.ExecuteInProcessResult:
    run_id = str(uuid4())
    if told:
        instance.add_event_listener(run_id, told)
    job = build_definitions(platform).resolve_job_def("nightly")
    return job.execute_in_process(instance=instance, run_id=run_id, tags=all_shards())


def _listeners(platform: Platform, region: Region) -> list[tuple[UUID, UUID, str]]:
    with platform.databases[region].transaction() as connection:
        return connection.execute(_LISTENERS).fetchall()


def _ask(platform: Platform, region: Region, person: UUID, scope: str) -> None:
    with platform.databases[region].transaction() as connection:
        connection.execute(
            "select set_config('request.jwt.claims', jsonb_build_object('sub', auth_user_id)::text,"
            " true) from seda.users where id = %s",
            [person],
        )
        connection.execute("select seda.request_deletion(%s, now())", [scope])


def _work(places: Places, later: timedelta = timedelta()):
    def clock() -> datetime:
        return datetime.now(UTC) + later

    return run_privacy_jobs(places, LocalMail(places.home, clock), clock)


def _report(
    platform: Platform,
    gone: dict[Region, tuple[UUID, UUID, str]],
    withdrawn: tuple[UUID, UUID, str],
    when: str,
    *,
    still_withdrawn: bool = True,
) -> bool:
    """Whether nobody who should not be is served."""
    fine = True
    for region, person in gone.items():
        kept_out = [person[0]]
        if region is Region.EU and still_withdrawn:
            kept_out.append(withdrawn[0])
        with platform.databases[region].transaction() as connection:
            ((people, back),) = connection.execute(_SERVED, [kept_out])
        print(f"{when}: {region} serves {people} people, {back} rows of who should not be there")
        fine &= back == 0
    return fine


def _leaks(platform: Platform, mock: MockServer, connected: set[str]) -> bool:
    """What left the machine: addresses, and personal words of Europeans in provider's texts."""
    with platform.databases[Region.EU].transaction() as connection:
        words = [
            word
            for row in connection.execute(
                "select id::text, auth_user_id, email, display_name from seda.users"
            )
            for word in row
            if word and len(word) > 4
        ]
    texts = mock.texts("openai")
    told = sum(any(word in text for word in words) for text in texts)
    remote = [each for each in connected if "127.0.0.1" not in each and "/" not in each]
    print(f"network: {len(texts)} texts to the provider, {told} with a word of {len(words)} of "
          f"Europeans; addresses beyond this machine: {len(remote)}")  # fmt: skip
    return bool(told or remote)


if __name__ == "__main__":
    main()
