"""The queue of privacy jobs: claimed under a lease, tried again with growing pauses, then failed.

A worker that dies lets its lease run out, and the job is claimed again; every step of a job may be
done twice.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, cast
from uuid import UUID

import psycopg

LEASE: Final = timedelta(minutes=15)
MOST_ATTEMPTS: Final = 8
FIRST_PAUSE: Final = timedelta(seconds=30)
LONGEST_PAUSE: Final = timedelta(hours=6)
EXPORT_LIFETIME: Final = timedelta(days=7)

# Deletions first: what has been deleted is in no export.
_CLAIM = """
    with next as (
        select id from seda.privacy_jobs
        where (status = 'queued' and next_attempt_at <= %(now)s)
           or (status = 'in_progress' and coalesce(leased_until, '-infinity') <= %(now)s)
        order by kind = 'export', next_attempt_at, id limit 1 for update skip locked
    )
    update seda.privacy_jobs j
    set status = 'in_progress', started_at = coalesce(started_at, %(now)s),
        leased_until = %(until)s, attempts = attempts + 1, failure = null
    from next where j.id = next.id
    returning j.id, j.user_id, j.kind, j.scope, j.attempts
"""
_WAITING = """
    select count(*) from seda.privacy_jobs
    where (status = 'queued' and next_attempt_at <= %(now)s)
       or (status = 'in_progress' and coalesce(leased_until, '-infinity') <= %(now)s)
       or (artefact_uri is not null and artefact_expires_at <= %(now)s)
"""
_COMPLETE = """
    update seda.privacy_jobs set status = 'completed', completed_at = %s, leased_until = null,
        artefact_uri = %s, artefact_expires_at = %s
    where id = %s and status = 'in_progress' and attempts = %s
"""
_AGAIN = """
    update seda.privacy_jobs
    set status = %s, next_attempt_at = %s, leased_until = null, failure = %s
    where id = %s and status = 'in_progress' and attempts = %s
"""
_REVIVE = """
    update seda.privacy_jobs j
    set status = 'queued', attempts = 0, next_attempt_at = %s, failure = null
    where status = 'failed' and not exists (
        select from seda.privacy_jobs o where o.user_id = j.user_id and o.kind = j.kind
          and o.scope = j.scope and o.id <> j.id and o.status in ('queued', 'in_progress'))
"""
_EXPIRED = """
    update seda.privacy_jobs set artefact_uri = null
    where artefact_uri is not null and artefact_expires_at <= %s returning id
"""


@dataclass(frozen=True, slots=True)
class PrivacyJob:
    """A claimed job; `attempts` counts this one, and fences off whoever had it before."""

    id: UUID
    user_id: UUID
    kind: Literal["export", "delete"]
    scope: Literal["imports", "account"]
    attempts: int


def claim_next(connection: psycopg.Connection, now: datetime) -> PrivacyJob | None:
    """The next job that is due, claimed for the lease; None where none is."""
    values = {"now": now, "until": now + LEASE}
    row = connection.execute(_CLAIM, values).fetchone()
    return PrivacyJob(*row) if row else None


def waiting_jobs(connection: psycopg.Connection, now: datetime) -> int:
    """How many jobs are due, and exports to be taken back."""
    row = connection.execute(_WAITING, {"now": now}).fetchone()
    return cast(int, row[0]) if row else 0


def complete(
    connection: psycopg.Connection,
    job: PrivacyJob,
    now: datetime,
    artefact: str | None = None,
    expires_at: datetime | None = None,
) -> bool:
    """Whether the job was still this claim's to complete."""
    done = connection.execute(_COMPLETE, [now, artefact, expires_at, job.id, job.attempts])
    return done.rowcount == 1


def put_off(connection: psycopg.Connection, job: PrivacyJob, failure: str, now: datetime) -> str:
    """Try again after a pause, or give up after the eighth time; the job's state. `failure` is the
    kind of error: its text could quote the person's values."""
    pause = min(FIRST_PAUSE * 4 ** (job.attempts - 1), LONGEST_PAUSE)
    state = "queued" if job.attempts < MOST_ATTEMPTS else "failed"
    connection.execute(_AGAIN, [state, now + pause, failure, job.id, job.attempts])
    return state


def revive_failed(connection: psycopg.Connection, now: datetime) -> int:
    """Queue what has failed for good, once its cause is mended; how many jobs."""
    return connection.execute(_REVIVE, [now]).rowcount


def expire_exports(connection: psycopg.Connection, now: datetime) -> list[UUID]:
    """Take back the exports whose seven days are over; their jobs."""
    return [id for (id,) in connection.execute(_EXPIRED, [now])]
