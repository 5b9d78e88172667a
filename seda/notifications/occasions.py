"""From friends who came to moments that may be worth a push, and their decisions.

Reads `social_events` by a cursor of its own. Decisions, what they queue and the cursor are one
transaction: a worker that is killed has decided either all of a range or nothing of it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid5

import psycopg
from psycopg.rows import dict_row

from seda.activity.social_events import lock_cursor, move_cursor, next_range
from seda.database.regions import RegionalDatabase
from seda.notifications.arrivals import CANDIDATES
from seda.notifications.outbox import LIFETIME, Message
from seda.notifications.policy import Occasion
from seda.notifications.pushes import Moment, consider
from seda.social.copy import Face, social_block
from seda.social.toasts import Candidate, Friend

CONSUMER = "pushes"

# The newest coming of each person into each room; what waited for too long is no news any more.
_ARRIVALS = """
    select distinct on (user_id, entity_id) event_id, user_id, entity_id from seda.social_events
    where transaction_id >= %s::text::xid8 and transaction_id < %s::text::xid8
      and kind = 'join' and entity_type = 'room' and received_at > %s
    order by user_id, entity_id, received_at desc
"""
# Friends who can be reached while they are away: they have a device.
_REACHABLE = """
    select distinct f.user_id from seda.friends f
    where f.friend_user_id = any (%s) and f.relationship_type = 'friend'
      and exists (select from seda.device_tokens d where d.user_id = f.user_id)
"""
# What the person's served list says of the room just now; whoever is in the room needs no push.
_STANDING = """
    select w.user_id, w.room_id, coalesce(o.scores[a.place], m.scores[a.place], 0)::float8,
           coalesce(m.is_new[a.place], false)
    from unnest(%(users)s::uuid[], %(rooms)s::uuid[]) as w (user_id, room_id)
    join seda.users u on u.id = w.user_id
    left join seda.generation_pointer p on p.entity_type = 'room'
        and p.arm = seda.served_arm(u.id) and p.shard = u.region || '-'
            || lpad((((u.bucket + 1) * %(shards)s - 1) / 64)::text, 2, '0')
    left join seda.mv_user_top_candidates m on m.generation = p.generation
        and m.user_id = w.user_id and m.entity_type = 'room'
    left join seda.realtime_rankings o on o.user_id = w.user_id and o.entity_type = 'room'
        and o.generation = m.generation and o.expires_at > %(now)s
    left join lateral (select array_position(m.entity_ids, w.room_id) as place) a on true
    where not exists (select from seda.room_presence r
                      where r.room_id = w.room_id and r.user_id = w.user_id)
"""
# How alike two people listen: the cosine of their log plays, as the social signal weighs a friend.
_AFFINITIES = """
    select w.user_id, w.friend_id, coalesce(sum(ln(1 + mine.plays) * ln(1 + theirs.plays))
        / nullif(sqrt((select sum(ln(1 + plays) ^ 2) from (
              select sum(plays) as plays from seda.activity_counts
              where user_id = w.user_id and entity_type = 'artist' group by entity_id) all_mine)
          * (select sum(ln(1 + plays) ^ 2) from (
              select sum(plays) as plays from seda.activity_counts
              where user_id = w.friend_id and entity_type = 'artist' group by entity_id) all_theirs)
        ), 0), 0)::float8
    from unnest(%s::uuid[], %s::uuid[]) as w (user_id, friend_id)
    left join lateral (
        select entity_id, sum(plays) as plays from seda.activity_counts
        where user_id = w.user_id and entity_type = 'artist' group by entity_id) mine on true
    left join lateral (
        select sum(plays) as plays from seda.activity_counts
        where user_id = w.friend_id and entity_type = 'artist' and entity_id = mine.entity_id
    ) theirs on true
    group by w.user_id, w.friend_id
"""


@dataclass(frozen=True, slots=True)
class _Standing:
    """What a person's served list says of a room: its score, 0 where it is not listed."""

    score: float
    is_new: bool


def consider_arrivals(
    database: RegionalDatabase, *, now: datetime, threshold: float, shards: int
) -> Counter[str]:
    """Decide a push for everybody who can be reached and whose friends came since the last call.

    How many decisions of each reason; every one is in `notification_log`. Safe beside other
    workers: one at a time reads, and each event leads to one decision for a person.
    """
    with database.transaction() as connection:
        ahead = next_range(connection, CONSUMER)
    if not ahead.events:
        return Counter()
    with database.transaction() as connection:
        since = lock_cursor(connection, CONSUMER, now)
        if since >= ahead.until:  # another worker was quicker
            return Counter()
        arrivals = {
            (actor, room): event
            for event, actor, room in connection.execute(
                _ARRIVALS, [since, ahead.until, now - LIFETIME]
            )
        }
        candidates = _candidates(connection, arrivals)
        moments = _moments(connection, arrivals, candidates, now, shards)
        reasons = consider(connection, moments, now, threshold) if moments else []
        move_cursor(connection, CONSUMER, ahead.until, now)
    return Counter(str(reason) for reason in reasons if reason is not None)


def _candidates(
    connection: psycopg.Connection, arrivals: Mapping[tuple[UUID, UUID], UUID]
) -> list[tuple[UUID, Candidate]]:
    """The rooms in which somebody who can be reached has friends of whom one came just now."""
    if not arrivals:
        return []
    actors, rooms = [actor for actor, _ in arrivals], [room for _, room in arrivals]
    viewers = [user for (user,) in connection.execute(_REACHABLE, [actors])]
    cursor = psycopg.RawCursor(connection, row_factory=dict_row)
    found = []
    for row in cursor.execute(CANDIDATES, [actors, rooms, viewers]) if viewers else ():
        present = tuple(Friend(UUID(id), Face(name, avatar)) for id, name, avatar in row["present"])
        came = frozenset(row["came"]).intersection(friend.user_id for friend in present)
        if came:  # else they are gone again, or hide
            candidate = Candidate(row["room_id"], row["name"], present, came, row["hidden"])
            found.append((row["viewer_id"], candidate))
    return found


def _moments(
    connection: psycopg.Connection,
    arrivals: Mapping[tuple[UUID, UUID], UUID],
    candidates: Sequence[tuple[UUID, Candidate]],
    now: datetime,
    shards: int,
) -> list[Moment]:
    """One for each candidate, the best score first: of a person's moments the first that may is
    sent."""
    standing = _standing(connection, candidates, now, shards)
    affinities = _affinities(connection, candidates)
    moments = []
    for viewer, candidate in candidates:
        known = standing.get((viewer, candidate.room_id))
        if known is None:
            continue
        friends = tuple(affinities.get((viewer, each.user_id), 0.0) for each in candidate.present)
        moments.append(
            Moment(
                _message(viewer, candidate, arrivals),
                Occasion(known.score, friends, known.is_new),
            )
        )
    return sorted(moments, key=lambda moment: -moment.occasion.score)


def _message(
    viewer: UUID, candidate: Candidate, arrivals: Mapping[tuple[UUID, UUID], UUID]
) -> Message:
    faces = [friend.face for friend in candidate.present]
    block = social_block(faces, len(faces) + candidate.hidden, candidate.room_name)
    event = min(arrivals[actor, candidate.room_id] for actor in candidate.came
                if (actor, candidate.room_id) in arrivals)  # fmt: skip
    return Message(
        uuid5(event, str(viewer)),
        viewer,
        f"#{candidate.room_name.removeprefix('#')}",
        block.text,
        "room",
        candidate.room_id,
    )


def _standing(
    connection: psycopg.Connection, candidates: Sequence[tuple[UUID, Candidate]], now: datetime,
    shards: int,
) -> dict[tuple[UUID, UUID], _Standing]:  # fmt: skip
    values = {
        "users": [viewer for viewer, _ in candidates],
        "rooms": [candidate.room_id for _, candidate in candidates],
        "shards": shards,
        "now": now,
    }
    rows = connection.execute(_STANDING, values) if candidates else ()
    return {(user, room): _Standing(score, is_new) for user, room, score, is_new in rows}


def _affinities(
    connection: psycopg.Connection, candidates: Sequence[tuple[UUID, Candidate]]
) -> dict[tuple[UUID, UUID], float]:
    """Of single friends: of two or more only the number decides."""
    pairs = {
        (viewer, candidate.present[0].user_id)
        for viewer, candidate in candidates
        if len(candidate.present) == 1
    }
    if not pairs:
        return {}
    columns = [[viewer for viewer, _ in pairs], [friend for _, friend in pairs]]
    rows = connection.execute(_AFFINITIES, columns)
    return {(user, friend): float(affinity) for user, friend, affinity in rows}
