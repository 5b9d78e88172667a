"""Deletes what is left of a person who asked for it, step by step; a step that was done is a no-op.

A purge begins when every transaction that may not have seen the tombstone has ended: later writers
see it, and the database drops what they write. So what is deleted here does not come back.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from seda.database.regions import Databases, Region, RegionalDatabase
from seda.database.storage import NotStoredError, RegionalStorage
from seda.errors import SedaError
from seda.privacy.export import export_key
from seda.privacy.files import personal_files
from seda.privacy.ownership import OwnedColumn, owned_columns
from seda.privacy.traces import Traces
from seda.vectorstore.opening import has_second_store

PURGE_WITHIN: Final = timedelta(days=30)
MANIFEST: Final = "erasures"
"""Folder of the region's storage in which a file per digest says who may not come back."""

_OPEN_BEFORE = """
    select t.transaction_id >= pg_snapshot_xmin(pg_current_snapshot()) or exists (
        select from pg_stat_activity a where a.datname = current_database()
          and a.pid <> pg_backend_pid() and a.backend_xmin is not null
          and age(a.backend_xmin) > age(t.transaction_id::xid))
    from seda.tombstones t where t.user_id = %s
"""
# What a push says of a friend, while it waits: a quarter of an hour at most.
_NAMED = """
    delete from seda.push_outbox
    where length(%(name)s) > 1 and position(%(name)s in title || ' ' || body) > 0
"""
_OWN_PRIVATE = """
    select id from seda.playlists where owner_user_id = %s and visibility = 'private'
"""


class UnsettledDeletionError(SedaError):
    """A transaction that began before the request is still open."""


@dataclass(frozen=True)
class Purge:
    """What a purge deleted: rows by relation, files, and the artefacts to be made again."""

    rows: Counter[str] = field(default_factory=Counter)
    files: int = 0
    artefacts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Places:
    """Where people's data lies."""

    databases: Databases
    storages: dict[Region, RegionalStorage]

    @property
    def home(self) -> Path:
        return self.databases.settings.home_directory()


def digest_of(user_id: UUID) -> bytes:
    """What stands for somebody who is gone; `seda.is_gone` compares the same."""
    return sha256(user_id.bytes).digest()


def nobody(job_id: UUID) -> UUID:
    """Who stands in stored matrices where the person of this job was: an id of its own, because ids
    there are distinct, of a range (version 8) in which nobody is and whose rows are dropped."""
    return UUID(bytes=UUID("00000000-0000-8000-8000-000000000000").bytes[:10] + job_id.bytes[-6:])


def refuse_unsettled(database: RegionalDatabase, user_id: UUID) -> None:
    """Raise while a writer may be under way that does not know of the deletion.

    Raises:
        UnsettledDeletionError: try again when that transaction has ended.
    """
    with database.transaction() as connection:
        row = connection.execute(_OPEN_BEFORE, [user_id]).fetchone()
    if row and row[0]:
        raise UnsettledDeletionError(
            "A transaction that began before the deletion is still open: it is tried again when "
            "that one has ended (pg_stat_activity shows it)."
        )


def purge_person(
    places: Places, region: Region, job_id: UUID, user_id: UUID, now: datetime
) -> Purge:
    """Delete an account's rows and files in both regions; the row of `users`, the tombstone and the
    jobs stay until `forget_person`, so that an interrupted purge is found again.

    Raises:
        UnsettledDeletionError: not yet.
        StoreUnreachableError: a second vector store does not answer.
    """
    own = places.databases[region]
    refuse_unsettled(own, user_id)
    private = _private_playlists(own, user_id)
    rows: Counter[str] = Counter()
    # First elsewhere: what is only known from the person's own rows is then still known.
    for other in places.databases:
        if other.region is not region:
            rows += _purge_rows_elsewhere(other, job_id, user_id, private, now)
    files = _purge_files(places, region, user_id)
    rows += _purge_own_rows(own, user_id, private)
    rows["vectors in Qdrant"] += _purge_vectors(places.databases, (user_id, *private))
    artefacts = blot_artefacts(own, places.storages[region], job_id, user_id, now)
    return Purge(rows, files, artefacts)


def purge_imports(
    places: Places, region: Region, job_id: UUID, user_id: UUID, now: datetime
) -> Purge:
    """What imports led to and the request did not take out: vectors' records, files, matrices.

    Raises:
        UnsettledDeletionError: not yet.
        StoreUnreachableError: a second vector store does not answer.
    """
    own = places.databases[region]
    refuse_unsettled(own, user_id)
    rows: Counter[str] = Counter()
    with own.transaction() as connection:
        # What a transaction wrote that had not seen the tombstone.
        for relation in ("activity_counts", "room_members", "artist_follows"):
            query = sql.SQL(
                "delete from seda.{} r using seda.tombstones t where r.user_id = %s "
                "and t.user_id = r.user_id and r.source <> 'seda' and not exists (select from "
                "seda.linked_accounts l where l.user_id = r.user_id and l.provider = r.source "
                "and l.created_at > t.created_at)"
            ).format(sql.Identifier(relation))
            rows[relation] += connection.execute(query, [user_id]).rowcount
        audit = "delete from seda.embeddings_audit where entity_type = 'user' and entity_uuid = %s"
        rows["embeddings_audit"] += connection.execute(audit, [user_id]).rowcount
    rows["vectors in Qdrant"] += _purge_vectors(places.databases, (user_id,))
    artefacts = blot_artefacts(own, places.storages[region], job_id, user_id, now)
    with own.transaction() as connection:
        connection.execute(
            "update seda.tombstones set purged_at = %s where user_id = %s and scope = 'imports'",
            [now, user_id],
        )
    return Purge(rows, 0, artefacts)


def forget_person(
    connection: psycopg.Connection, job_id: UUID, user_id: UUID, purge: Purge, now: datetime
) -> None:
    """The last step, in one transaction: who was purged is nobody, and the log says that a job did
    it, not whose it was."""
    for relation, column in (
        ("privacy_jobs", "user_id"), ("tombstones", "user_id"), ("users", "id"),
    ):  # fmt: skip
        query = sql.SQL("delete from seda.{} where {} = %s").format(
            sql.Identifier(relation), sql.Identifier(column)
        )
        purge.rows[relation] += connection.execute(query, [user_id]).rowcount
    record_purge(connection, "privacy.account_erased", job_id, purge, now)


def record_purge(
    connection: psycopg.Connection, action: str, job_id: UUID, purge: Purge, now: datetime
) -> None:
    """The audit row of a purge: counts, and files that are to be made again."""
    details = {
        "rows": {name: count for name, count in sorted(purge.rows.items()) if count},
        "files": purge.files,
        "to_be_remade": list(purge.artefacts),
    }
    connection.execute(
        "insert into seda.audit_log (occurred_at, actor, action, subject, details) "
        "values (%s, 'privacy', %s, %s, %s)",
        [now, action, str(job_id), Jsonb(details)],
    )


def write_manifest(storage: RegionalStorage, user_id: UUID, now: datetime) -> None:
    """Say outside of the database, too, that this digest may not come back: a backup that is older
    than the deletion does not know it."""
    storage.put_bytes(f"{MANIFEST}/{digest_of(user_id).hex()}", f"{now:%Y-%m-%d}".encode())


def blot_artefacts(
    database: RegionalDatabase,
    storage: RegionalStorage,
    job_id: UUID,
    user_id: UUID,
    now: datetime,
) -> tuple[str, ...]:
    """Take the person's id out of every stored matrix, and list what was computed from them.

    A position stays, so that other people's do not move; it is nobody's, and no list is published
    for nobody. Listed are all intermediate results of the region: each counts positions of a matrix
    that had the person, or was fitted on it. The next run makes them again.
    """
    traces, made_from = Traces((user_id,)), []
    for key in storage.list():
        if key.split("/")[0] in ("exports", MANIFEST, "audit"):
            continue
        made_from.append(key)
        try:
            content = storage.get_bytes(key)
        except NotStoredError:
            continue
        if traces.in_bytes(content):
            content = content.replace(user_id.bytes, nobody(job_id).bytes)
            storage.put_bytes(key, traces.blotted(content))
    with database.transaction() as connection:
        connection.execute(
            "insert into seda.stale_artefacts (key, job_id, listed_at) "
            "select unnest(%s::text[]), %s, %s on conflict do nothing",
            [made_from, job_id, now],
        )
    return tuple(made_from)


def note_remade(database: RegionalDatabase, storage: RegionalStorage, now: datetime) -> int:
    """Mark what was made again since it was listed, or is no more; how many are still to come."""
    with database.transaction() as connection:
        for key, listed_at in connection.execute(
            "select key, max(listed_at) from seda.stale_artefacts "
            "where remade_at is null group by 1"
        ).fetchall():
            written = storage.modified_at(key)
            # Taking an id out writes the file within the moment that it is listed.
            if written is None or written > listed_at + timedelta(minutes=1):
                connection.execute(
                    "update seda.stale_artefacts set remade_at = %s "
                    "where key = %s and remade_at is null",
                    [now, key],
                )
        row = connection.execute(
            "select count(distinct key) from seda.stale_artefacts where remade_at is null"
        ).fetchone()
    return int(row[0]) if row else 0


def _private_playlists(database: RegionalDatabase, user_id: UUID) -> list[UUID]:
    """What nobody else can see, in either region's catalogue: it goes with its owner."""
    with database.transaction() as connection:
        return [id for (id,) in connection.execute(_OWN_PRIVATE, [user_id])]


def _purge_own_rows(database: RegionalDatabase, user_id: UUID, private: list[UUID]) -> Counter[str]:
    rows: Counter[str] = Counter()
    with database.transaction() as connection:
        named = connection.execute(
            "select coalesce(display_name, '') from seda.users where id = %s", [user_id]
        ).fetchone()
        if named:
            rows["push_outbox"] += connection.execute(_NAMED, {"name": named[0]}).rowcount
        # What goes last says that there is still something to do.
        columns = [each for each in owned_columns(connection) if each.relation not in _LAST]
        rows += _delete(connection, columns, user_id)
        rows["playlists"] += _delete_playlists(connection, private)
        for relation, column in (("playlists", "owner_user_id"), ("rooms", "created_by")):
            query = sql.SQL("update seda.{0} set {1} = null where {1} = %s")
            connection.execute(
                query.format(sql.Identifier(relation), sql.Identifier(column)), [user_id]
            )
    return rows


_LAST: Final = frozenset({"privacy_jobs", "tombstones"})


def _purge_rows_elsewhere(
    database: RegionalDatabase, job_id: UUID, user_id: UUID, private: list[UUID], now: datetime
) -> Counter[str]:
    """In the other region: friends' rows that name the person, the directory, and whatever else has
    their id though it should not. Its log says so, because its tables are to be rewritten, too."""
    with database.transaction() as connection:
        connection.execute(
            "insert into seda.erased_people (digest, erased_at) values (%s, %s) "
            "on conflict do nothing",
            [digest_of(user_id), now],
        )
        connection.execute(
            "insert into seda.erased_people (digest, erased_at) "
            "select sha256(convert_to('sub:' || auth_user_id, 'UTF8')), %s "
            "from seda.region_directory where user_id = %s on conflict do nothing",
            [now, user_id],
        )
        rows = _delete(connection, owned_columns(connection), user_id)
        rows["playlists"] += _delete_playlists(connection, private)
        record_purge(connection, "privacy.rows_erased", job_id, Purge(rows.copy()), now)
    return rows


def _delete(
    connection: psycopg.Connection, columns: list[OwnedColumn], user_id: UUID
) -> Counter[str]:
    rows: Counter[str] = Counter()
    for each in columns:
        query = sql.SQL("delete from seda.{} where {} = %s").format(
            sql.Identifier(each.relation), sql.Identifier(each.column)
        )
        rows[each.relation] += connection.execute(query, [user_id]).rowcount
    return rows


def _delete_playlists(connection: psycopg.Connection, ids: list[UUID]) -> int:
    return connection.execute("delete from seda.playlists where id = any (%s)", [ids]).rowcount


def _purge_vectors(databases: Databases, ids: tuple[UUID, ...]) -> int:
    if not any(has_second_store(databases.settings, each.region) for each in databases):
        return 0
    # Its client costs most of a second, which only those who have a second store should pay.
    from seda.privacy.second_store import purge_second_stores

    return purge_second_stores(databases, ids)


def _purge_files(places: Places, region: Region, user_id: UUID) -> int:
    paths = personal_files(places.home, user_id)
    for path in paths:
        path.unlink(missing_ok=True)
    storage, database = places.storages[region], places.databases[region]
    with database.transaction() as connection:
        jobs = connection.execute(
            "select id from seda.privacy_jobs where user_id = %s and kind = 'export'", [user_id]
        ).fetchall()
    for (job,) in jobs:
        storage.delete(export_key(job))
    return len(paths) + len(jobs)
