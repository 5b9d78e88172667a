"""Real-time rankings: an overlay on a published list, made again when friends come and go.

Whom events concern, which list is served to them and who is where now are read in one transaction,
in which the overlays are written too, the reader's cursor is moved and the real-time service is
told: all of it or nothing. What is read grows with the people concerned, not with the region.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID

import numpy as np
import psycopg

from seda.activity.social_events import EventRange, lock_cursor, move_cursor
from seda.database import copy
from seda.database.regions import RegionalDatabase
from seda.publishing import overlay_queries as queries
from seda.recommender.arrays import BoolArray, DoubleArray, FloatArray
from seda.recommender.attention import ATTENTION, STALE_AFTER
from seda.recommender.delta import PresenceNow, PublishedLists, rerank, rescored
from seda.recommender.ranking import Ranker
from seda.recommender.signals.social import saturated_presence
from seda.recommender.terms import INPUTS

CONSUMER = "realtime_rankings"
LIFETIME = timedelta(minutes=30)
"""How long an overlay counts: a friend who never said goodbye may be gone by then."""
RENEWED = timedelta(minutes=10)
"""An overlay with less than this left is made again, where anybody is still there."""
MOST_RENEWED = 2_000
CHANNEL = "seda_feed_updated"
PEOPLE_PER_PAYLOAD = 150
"""A payload has less than 8,000 bytes, and a person takes 39 of them."""
EXACT = 1e-6
"""Scores that differ by more were not given by this ranker."""


@dataclass(frozen=True)
class DeltaReport:
    """What a re-rank did: people whom events concerned, lists that were scored again, overlays
    written and dropped, and lists whose published scores the ranker does not give (left alone)."""

    people: int
    lists: int
    written: int
    dropped: int
    of_another_ranker: int
    seconds: float


@dataclass(frozen=True, eq=False)
class _Served:
    """The lists that are served, and by place: what `PublishedLists` holds, score, presence."""

    lists: PublishedLists
    versions: np.ndarray
    scores: DoubleArray
    presence: FloatArray


def update_overlays(
    database: RegionalDatabase,
    *,
    until: int,
    rankers: Callable[[str], Ranker | None],
    shards: int,
    now: datetime,
) -> DeltaReport:
    """Re-rank for whom the events before transaction `until` concern, and whose overlay is due.

    Exactly once for each event: a range that was read before is empty. `rankers` gives the ranker
    of a model version, None where there is none any more.
    """
    started = time.perf_counter()
    with database.transaction() as connection:
        people = _concerned(connection, until, shards, now)
        served = _served(connection)
        presence = _presence(connection, served.lists, now)
        told, lists, unknown = _rerank(connection, served, presence, rankers)
        values = {"now": now, "expires": now + LIFETIME}
        written = [user for (user,) in connection.execute(queries.MERGE, values)]
        dropped = [user for (user,) in connection.execute(queries.DROP)]
        connection.execute(queries.FORGET, [now])
        _announce(connection, [*written, *dropped], now)
    assert told == len(written)
    return DeltaReport(
        people, lists, len(written), len(dropped), unknown, time.perf_counter() - started
    )


def people_concerned(
    connection: psycopg.Connection, events: EventRange, *, shards: int, now: datetime
) -> int:
    """For how many people a re-rank is due: friends of who came or went, and expiring overlays."""
    values = _values(events.since, events.until, shards, now)
    ((people,),) = connection.execute(queries.COUNT, values).fetchall()
    return int(people)


def _values(since: int, until: int, shards: int, now: datetime) -> dict[str, Any]:
    return {
        "since": since, "until": until, "shards": shards, "renewed": now + RENEWED,
        "most": MOST_RENEWED,
    }  # fmt: skip


def _concerned(connection: psycopg.Connection, until: int, shards: int, now: datetime) -> int:
    since = lock_cursor(connection, CONSUMER, now)
    connection.execute(queries.LOOK_UPS)
    connection.execute(queries.TABLES)
    until = max(until, since)
    values = _values(since, until, shards, now)
    people = connection.execute(queries.CONCERNED, values).rowcount
    if until != since:
        move_cursor(connection, CONSUMER, until, now)
    return people


def _served(connection: psycopg.Connection) -> _Served:
    connection.execute(queries.LISTS)
    people = connection.execute(queries.PEOPLE).fetchall()
    types = ["int4", "bool", "float8", "float4", *["float4"] * len(INPUTS)]
    owners, is_new, scores, presence, *signals = copy.read_fixed(connection, queries.LISTED, types)
    counts = np.bincount(owners, minlength=len(people))
    whole = counts == np.array([length for *_, length in people], np.int64)
    kept = whole[owners]
    lists = PublishedLists(
        np.concatenate([[0], np.cumsum(np.where(whole, counts, 0))]).astype(np.int64),
        np.stack([signal[kept] for signal in signals], axis=1),
        is_new[kept],
        np.array([size for *_, size, _ in people], np.int32),
    )
    versions = np.array([version for _, version, _, _ in people], dtype=object)
    return _Served(lists, versions, scores[kept], presence[kept])


def _presence(connection: psycopg.Connection, lists: PublishedLists, now: datetime) -> PresenceNow:
    """Friends who show themselves, where they are now, by the places of the lists."""
    connection.execute(queries.HOLD_FRIENDS)
    values = {"attention": ATTENTION, "stale_after": STALE_AFTER, "now": now}
    connection.execute(queries.SIGHTINGS, values)
    people, places, counts, logs = copy.read_fixed(
        connection, queries.SEEN, ["int4", "int4", "float4", "float4"]
    )
    seen = saturated_presence(counts, logs)
    listed = np.zeros(len(lists.inputs), np.float32)
    at = (places > 0) & (np.diff(lists.indptr)[people] > 0)
    listed[lists.indptr[people[at]] + places[at] - 1] = seen[at]
    elsewhere = places == 0
    counts_elsewhere = np.bincount(people[elsewhere], minlength=len(lists.pool_sizes))
    indptr = np.concatenate([[0], np.cumsum(counts_elsewhere)]).astype(np.int64)
    return PresenceNow(listed, seen[elsewhere], indptr)


def _rerank(
    connection: psycopg.Connection, served: _Served, presence: PresenceNow,
    rankers: Callable[[str], Ranker | None],
) -> tuple[int, int, int]:  # fmt: skip
    """Stage the lists that friends move; how many those are, were scored, and were left alone."""
    staged = scored = unknown = 0
    for version in sorted(set(served.versions)):
        of_version = served.versions == version
        part, seen, chosen = _part(served, presence, of_version)
        ranker = rankers(version)
        if ranker is None:
            unknown += int(of_version.sum())
            continue
        exact = np.abs(rescored(ranker, part.inputs) - served.scores[chosen]) <= EXACT
        wrong = np.bincount(part.owners[~exact], minlength=len(part.pool_sizes)) > 0
        ranked = rerank(part, seen, ranker)
        moved = (seen.listed > 0) | (served.presence[chosen] > 0)
        some = np.bincount(part.owners[moved], minlength=len(wrong)) > 0
        scored, unknown = scored + int((~wrong).sum()), unknown + int(wrong.sum())
        staged += _stage(
            connection, np.flatnonzero(of_version), part, some & ~wrong,
            [ranked.ranks, ranked.scores, seen.listed, ranked.signals, ranked.lifts],
        )  # fmt: skip
    return staged, scored, unknown


def _part(
    served: _Served, presence: PresenceNow, people: BoolArray
) -> tuple[PublishedLists, PresenceNow, BoolArray]:
    """Some people's lists and presence, and which places those are."""
    lists = served.lists
    lengths = np.diff(lists.indptr)
    elsewhere = np.diff(presence.elsewhere_indptr)
    rows, further = np.repeat(people, lengths), np.repeat(people, elsewhere)
    return (
        PublishedLists(
            _indptr(lengths[people]), lists.inputs[rows], lists.is_new[rows],
            lists.pool_sizes[people],
        ),
        PresenceNow(
            presence.listed[rows], presence.elsewhere[further], _indptr(elsewhere[people])
        ),
        rows,
    )  # fmt: skip


def _indptr(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _stage(
    connection: psycopg.Connection, places: np.ndarray, lists: PublishedLists, people: BoolArray,
    columns: Sequence[np.ndarray],
) -> int:  # fmt: skip
    lengths = np.diff(lists.indptr)
    rows, kept = np.repeat(people, lengths), lengths[people]
    arrays = [copy.float_arrays(column[rows].astype(np.float32), kept) for column in columns]
    names = ("ranks", "scores", "presence", "signals", "lifts")
    staged: dict[str, Any] = {"place": copy.integers(places[people], 4)}
    return copy.copy_rows(connection, "staged", staged | dict(zip(names, arrays, strict=True)))


def _announce(connection: psycopg.Connection, people: Sequence[UUID], now: datetime) -> None:
    """Tell the real-time service, when this transaction commits."""
    left = iter(people)
    payloads = []
    while some := [str(user) for user in islice(left, PEOPLE_PER_PAYLOAD)]:
        payloads.append(
            json.dumps(
                {
                    "users": some,
                    "entity_types": ["room"],
                    "reason": "presence",
                    "at": now.isoformat(timespec="microseconds"),
                },
                separators=(",", ":"),
            )
        )
    connection.execute("select pg_notify(%s, p) from unnest(%s::text[]) as p", [CHANNEL, payloads])
