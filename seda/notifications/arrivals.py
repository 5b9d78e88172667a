"""Who of the connected people may be told that friends came: candidates from the live rows.

The privacy of SOC-4 is applied here: blocks, deleted people and friends who hide. What is read is
presence as it is now, so a caller that reads and emits at once tells of nobody who has left: who
lingers after a leave is not there either.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from seda.social.copy import Face
from seda.social.toasts import Candidate, Friend

# Numbered values, so that both drivers run it: asyncpg, and psycopg's raw cursor.
#
# From those who came to their friends, and on to the friends who are there: what is read grows with
# them, not with everybody who is connected. Plans are generic and know of no array's length, so
# `offset 0` keeps look-ups look-ups. Anything but false hides, as in seda.friends_presence.
CANDIDATES = """
    with came as materialized (
        select distinct a.actor_id, a.room_id
        from unnest($1::uuid[], $2::uuid[]) as a (actor_id, room_id)
    ), theirs as materialized (
        select c.actor_id, c.room_id, f.friend_user_id as viewer_id
        from came c cross join lateral (
            select friend_user_id from seda.friends
            where user_id = c.actor_id and relationship_type = 'friend' offset 0) f
    ), concerned as materialized (
        select t.viewer_id, t.room_id, array_agg(t.actor_id) as came
        from theirs t
        join (select distinct unnest($3::uuid[]) as id) viewer on viewer.id = t.viewer_id
        group by t.viewer_id, t.room_id
    ), inside as materialized (
        select c.viewer_id, c.room_id, c.came, f.friend_user_id, p.joined_at
        from concerned c
        join seda.friends f on f.user_id = c.viewer_id and f.relationship_type = 'friend'
        cross join lateral (
            select joined_at from seda.room_presence
            where room_id = c.room_id and user_id = f.friend_user_id and departure is null
              and (connections > 0 or held_until > now()) offset 0) p
    ), there as (
        select i.viewer_id, i.room_id, i.came, i.joined_at, u.id, u.display_name, u.avatar_url,
               coalesce(u.privacy_settings -> 'hide_presence', 'false') <> 'false' as hidden
        from inside i
        join seda.friends back on back.user_id = i.friend_user_id
            and back.friend_user_id = i.viewer_id and back.relationship_type = 'friend'
        join seda.users u on u.id = i.friend_user_id and u.deleted_at is null
        where not exists (
            select from seda.friends b where b.relationship_type = 'block'
              and b.user_id = i.viewer_id and b.friend_user_id = i.friend_user_id)
          and not exists (
            select from seda.friends b where b.relationship_type = 'block'
              and b.user_id = i.friend_user_id and b.friend_user_id = i.viewer_id)
    )
    select t.viewer_id, t.room_id, r.name, t.came,
           jsonb_agg(jsonb_build_array(t.id, t.display_name, t.avatar_url)
                     order by t.joined_at, t.id) filter (where not t.hidden) as present,
           case when bool_or(t.hidden) and (
                    select count(*) from seda.friends f
                    join seda.users u on u.id = f.friend_user_id and u.deleted_at is null
                    where f.user_id = t.viewer_id and f.relationship_type = 'friend'
                      and coalesce(u.privacy_settings -> 'hide_presence', 'false') <> 'false'
                      and not exists (
                          select from seda.friends b where b.relationship_type = 'block'
                            and ((b.user_id = f.user_id and b.friend_user_id = f.friend_user_id)
                              or (b.user_id = f.friend_user_id
                                  and b.friend_user_id = f.user_id)))) >= 3
                then count(*) filter (where t.hidden) else 0 end as hidden
    from there t
    join seda.rooms r on r.id = t.room_id and r.deleted_at is null
    group by t.viewer_id, t.room_id, r.name, t.came
    having count(*) filter (where not t.hidden) > 0
    order by t.viewer_id, t.room_id
"""


@dataclass(frozen=True, slots=True)
class Arrival:
    """Somebody came into a room."""

    actor_id: UUID
    room_id: UUID


async def load_candidates(
    connection: asyncpg.Connection, arrivals: Sequence[Arrival], viewers: Collection[UUID]
) -> list[tuple[UUID, Candidate]]:
    """Viewer and candidate for each room in which a viewer's visible friends are; one statement.

    Somebody who came and hides, or is gone again, is among nobody's `present`: `decide` drops it.
    """
    rows = await connection.fetch(
        CANDIDATES,
        [arrival.actor_id for arrival in arrivals],
        [arrival.room_id for arrival in arrivals],
        list(viewers),
    )
    return [(row["viewer_id"], _candidate(row)) for row in rows]


def _candidate(row: asyncpg.Record) -> Candidate:
    present = tuple(
        Friend(UUID(id), Face(name, avatar)) for id, name, avatar in json.loads(row["present"])
    )
    # Who came and hides is not named here either: nobody could tell from a candidate.
    came = frozenset(row["came"]).intersection(friend.user_id for friend in present)
    return Candidate(row["room_id"], row["name"], present, came, row["hidden"])
