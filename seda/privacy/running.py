"""Runs privacy jobs: exports, deletions, and what follows from them, one job at a time.

The command line and the Dagster asset call `run_privacy_jobs`; it may run twice at once.
"""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from seda.database.regions import Region, RegionalDatabase
from seda.privacy.audit import keep_head
from seda.privacy.erasure import (
    MANIFEST,
    Places,
    UnsettledDeletionError,
    forget_person,
    note_remade,
    purge_imports,
    purge_person,
    record_purge,
    write_manifest,
)
from seda.privacy.export import export_key, export_zip
from seda.privacy.jobs import (
    EXPORT_LIFETIME,
    PrivacyJob,
    claim_next,
    complete,
    expire_exports,
    put_off,
)
from seda.privacy.notices import Mailer, Notice, deletion_notice, export_notice
from seda.privacy.rewriting import Patience, Rewriting, at_once, rewrite_regions

MOST_JOBS: Final = 200
"""Of one run and region."""
MOST_NOTICES: Final = 4
"""Attempts at a deletion that wait for the mail server; then it is carried out untold."""

_RESTORED = """
    select id from seda.users where encode(sha256(uuid_send(id)), 'hex') = any (%s)
"""
_UNKNOWN = """
    insert into seda.erased_people (digest, erased_at)
    select decode(d, 'hex'), %s from unnest(%s::text[]) as d on conflict do nothing
"""

_logger = logging.getLogger("seda.privacy")


@dataclass(frozen=True)
class PrivacyReport:
    """Jobs by what became of them, exports that were taken back, people whom a restored backup had
    brought back, artefacts that are still to be made again, and the tables that were written anew,
    by region."""

    jobs: Counter[str]
    expired: int
    restored: int
    to_be_remade: int
    rewritten: dict[Region, Rewriting]


def run_privacy_jobs(
    places: Places,
    mailer: Mailer,
    clock: Callable[[], datetime],
    *,
    most: int = MOST_JOBS,
    patience: Patience | None = None,
    renew_log: bool = True,
) -> PrivacyReport:
    """Work on what is due, in both regions, at most `most` jobs of each; then write small tables
    anew where somebody was erased. `patience`: as the settings have it."""
    jobs: Counter[str] = Counter()
    expired = restored = waiting = 0
    for database in places.databases:
        restored += _delete_restored(places, database, clock())
        for _ in range(most):
            with database.transaction() as connection:
                job = claim_next(connection, clock())
            if job is None:
                break
            jobs[_attempt(places, database, job, mailer, clock)] += 1
        expired += _take_back(places, database, clock())
        storage = places.storages[database.region]
        waiting += note_remade(database, storage, clock())
        with database.transaction() as connection:
            keep_head(connection, storage)
    rewritten = _rewrite(places, clock, patience, renew_log)
    return PrivacyReport(jobs, expired, restored, waiting, rewritten)


def _rewrite(
    places: Places, clock: Callable[[], datetime], patience: Patience | None, renew_log: bool
) -> dict[Region, Rewriting]:
    largest = places.databases.settings.rewrite_at_once_mib
    if not largest and patience is None:
        return {}
    now = clock()
    return rewrite_regions(
        places.databases,
        clock,
        wanted=lambda standing: standing.erased or standing.retry_is_due(now),
        patience=patience or at_once(largest),
        renew=renew_log,
    )


def _attempt(
    places: Places,
    database: RegionalDatabase,
    job: PrivacyJob,
    mailer: Mailer,
    clock: Callable[[], datetime],
) -> str:
    work = _export if job.kind == "export" else _delete
    try:
        work(places, database, job, mailer, clock())
    except UnsettledDeletionError as problem:
        failure = type(problem).__name__
    except Exception as problem:
        # One job that fails must not keep the others from their turn. The type alone is kept: a
        # message may quote a value.
        failure = type(problem).__name__
        _logger.error("a privacy job failed: %s", failure, extra={"fields": {"job": str(job.id)}})
    else:
        return f"{job.kind} completed"
    with database.transaction() as connection:
        return f"{job.kind} {put_off(connection, job, failure, clock())}"


def _export(
    places: Places, database: RegionalDatabase, job: PrivacyJob, mailer: Mailer, now: datetime
) -> None:
    content = export_zip(places.databases, database.region, job.user_id, places.home, now)
    key, until = export_key(job.id), now + EXPORT_LIFETIME
    storage = places.storages[database.region]
    storage.put_bytes(key, content)
    with database.transaction() as connection:
        row = connection.execute(
            "select email, deleted_at is not null from seda.users where id = %s for share",
            [job.user_id],
        ).fetchone()
        if row is None or row[1]:
            storage.delete(key)  # who has gone meanwhile gets none, and none is kept
            complete(connection, job, now)
            return
        complete(connection, job, now, key, until)
    # The export is there, whether the mail server is or not: it is told once.
    _tell(mailer, export_notice(job.id, database.region, row[0], until), again=False)


def _delete(
    places: Places, database: RegionalDatabase, job: PrivacyJob, mailer: Mailer, now: datetime
) -> None:
    with database.transaction() as connection:
        row = connection.execute(
            "select email from seda.users where id = %s", [job.user_id]
        ).fetchone()
    notice = deletion_notice(job.id, database.region, row[0] if row else None, job.scope)
    if job.scope == "imports":
        purge = purge_imports(places, database.region, job.id, job.user_id, now)
        with database.transaction() as connection:
            if complete(connection, job, now):
                record_purge(connection, "privacy.imports_erased", job.id, purge, now)
        _tell(mailer, notice, again=False)
        return
    write_manifest(places.storages[database.region], job.user_id, now)
    purge = purge_person(places, database.region, job.id, job.user_id, now)
    # Before the address is forgotten; a crash here sends it twice.
    _tell(mailer, notice, again=job.attempts < MOST_NOTICES)
    with database.transaction() as connection:
        forget_person(connection, job.id, job.user_id, purge, now)


def _tell(mailer: Mailer, notice: Notice, *, again: bool) -> None:
    """Send a notice; where it cannot be sent, have the job tried `again`, or go on without."""
    try:
        mailer.send(notice)
    except OSError as problem:
        if again:
            raise
        told = {"job": str(notice.job_id)}
        _logger.error("a notice was not sent: %s", type(problem).__name__, extra={"fields": told})


def _take_back(places: Places, database: RegionalDatabase, now: datetime) -> int:
    with database.transaction() as connection:
        over = expire_exports(connection, now)
        for job_id in over:
            places.storages[database.region].delete(export_key(job_id))
    return len(over)


def _delete_restored(places: Places, database: RegionalDatabase, now: datetime) -> int:
    """Deletes again who is in the manifest and came back with a backup; how many."""
    storage = places.storages[database.region]
    digests = [key.partition("/")[2] for key in storage.list(MANIFEST)]
    if not digests:
        return 0
    with database.transaction() as connection:
        connection.execute(_UNKNOWN, [now, digests])
        people = [id for (id,) in connection.execute(_RESTORED, [digests])]
        again = 0
        for user_id in people:
            # A purge that is under way is not a restored backup.
            open_job = connection.execute(
                "select from seda.privacy_jobs where user_id = %s and kind = 'delete' "
                "and scope = 'account' and status in ('queued', 'in_progress')",
                [user_id],
            ).fetchone()
            if open_job is None:
                again += 1
                connection.execute("select seda.delete_again(%s, %s)", [user_id, now])
    return again
