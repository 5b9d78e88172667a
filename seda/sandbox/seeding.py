"""`seda seed`: fills both regional databases with an invented, deterministic sandbox.

A sandbox that is there already is left as it is, whatever day it is now: seeding twice changes no
row. Which sandbox a database holds is written in its audit log, in the transaction that fills it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg
from psycopg.types.json import Jsonb

from seda.database.regions import Databases, Region, RegionalDatabase
from seda.errors import SedaError
from seda.progress import Progress, SilentProgress
from seda.sandbox.generation.present import SOCIAL_DAYS
from seda.sandbox.generation.whole import make_world, sandbox_name
from seda.sandbox.loading import append, refuse_production
from seda.sandbox.profiles import SandboxProfile
from seda.sandbox.rows import count_rows, directory_rows, region_rows
from seda.sandbox.world import World

_SEEDED = "sandbox.seeded"


class OtherSandboxError(SedaError):
    """Another profile or seed is in the database."""


@dataclass(frozen=True)
class SeedReport:
    """What the sandbox holds in both regions, and how many rows this call wrote."""

    profile: str
    seed: int
    users: int
    eu_users: int
    artists: int
    playlists: int
    rooms: int
    written_rows: int


def seed_sandbox(
    databases: Databases,
    profile: SandboxProfile,
    *,
    seed: int = 7,
    now: datetime,
    progress: Progress | None = None,
) -> SeedReport:
    """Fill what is not filled yet; `now` is the moment that the sandbox shows as its present.

    One transaction per region, the global one last: an interrupted call leaves whole regions, and
    the next one, with any `now`, adds the missing one.

    Raises:
        ProductionRefusedError: `SEDA_ENV` is production.
        OtherSandboxError: another profile or seed is there; nothing was written.
    """
    refuse_production(databases.settings, "seda seed")
    progress = progress or SilentProgress()
    name = sandbox_name(profile, seed)
    # EU first: what the global database says about who lives where is then true.
    missing = [databases[home] for home in (Region.EU, Region.GLOBAL)]
    missing = [database for database in missing if not _is_seeded(database, name)]
    written = 0
    if missing:
        now = now.astimezone(UTC).replace(microsecond=0)
        progress.start("Inventing the sandbox", 1)
        world = make_world(profile, seed, np.datetime64(now.replace(tzinfo=None), "us"))
        progress.advance(1)
        for database in missing:
            written += _fill(database, world, name, now, progress)
    return _report(profile, seed, written)


def _report(profile: SandboxProfile, seed: int, written: int) -> SeedReport:
    return SeedReport(
        profile=profile.name,
        seed=seed,
        users=profile.users,
        eu_users=round(profile.eu_share * profile.users),
        artists=profile.artists,
        playlists=profile.playlists,
        rooms=profile.rooms,
        written_rows=written,
    )


def _is_seeded(database: RegionalDatabase, name: str) -> bool:
    with database.transaction() as connection:
        return _holds(connection, name)


def _holds(connection: psycopg.Connection, name: str) -> bool:
    """Whether the sandbox is there; another one is refused."""
    found = connection.execute(
        "select subject, seda.database_region() from seda.audit_log where action = %s", (_SEEDED,)
    ).fetchone()
    if found and found[0] != name:
        profile, _, seed = found[0].partition(":")
        raise OtherSandboxError(
            f"The {found[1]} database holds the sandbox `{profile}` with seed {seed} already: run "
            "`seda reset` before seeding another."
        )
    return found is not None


def _fill(
    database: RegionalDatabase, world: World, name: str, now: datetime, progress: Progress
) -> int:
    progress.start(f"Sandbox → {database.region}", count_rows(world, database.region))
    with database.transaction() as connection:
        # Two seedings at once: the second waits here, and then finds the first one's rows.
        connection.execute("select pg_advisory_xact_lock(hashtext('seda.seed'))")
        if _holds(connection, name):
            return 0
        _make_day_partitions(connection, now)
        try:
            written = append(connection, region_rows(world, database.region), progress)
            if database.region is Region.GLOBAL:
                written += append(connection, [directory_rows(world)], progress)
        except psycopg.errors.UniqueViolation as problem:
            raise OtherSandboxError(
                f"The {database.region} database holds a part of this sandbox without the record "
                "of it in the audit log: run `seda reset` before seeding again."
            ) from problem
        connection.execute(
            "insert into seda.audit_log (occurred_at, actor, action, subject, details) "
            "values (%s, 'sandbox', %s, %s, %s)",
            (now, _SEEDED, name, Jsonb({"rows": written})),
        )
    return written


def _make_day_partitions(connection: psycopg.Connection, now: datetime) -> None:
    """A partition for each day that has social events, as retention would have made them."""
    first = now.date() - timedelta(days=SOCIAL_DAYS)
    # A day whose rows are in the default partition already cannot have its own any more.
    connection.execute(
        "select seda.ensure_day_partitions('seda.social_events', %s, %s) "
        "where not exists (select from seda.social_events_default where received_at >= %s)",
        (first, SOCIAL_DAYS + 1, first),
    )
