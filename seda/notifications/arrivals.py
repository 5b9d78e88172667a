"""Who of the connected people may be told that friends came: candidates from the live rows.

The privacy of SOC-4 is applied here: blocks, deleted people and friends who hide. What is read is
presence as it is now, so a caller that reads and emits at once tells of nobody who has left.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from seda.social.copy import Face
from seda.social.toasts import Candidate, Friend

# Anything but false hides, as in seda.friends_presence.
_CANDIDATES = """
    with came as materialized (
        select distinct a.actor_id, a.room_id
        from unnest($1::uuid[], $2::uuid[]) as a (actor_id, room_id)
    ), concerned as materialized (
        select f.user_id as viewer_id, c.room_id, array_agg(c.actor_id) as came
        from came c
        join seda.friends f on f.friend_user_id = c.actor_id and f.relationship_type = 'friend'
        where f.user_id = any ($3::uuid[])
        group by f.user_id, c.room_id
    ), known as materialized (
        select f.user_id as viewer_id, u.id, u.display_name, u.avatar_url,
               coalesce(u.privacy_settings -> 'hide_presence', 'false') <> 'false' as hidden
        from (select distinct viewer_id from concerned) viewer
        join seda.friends f on f.user_id = viewer.viewer_id and f.relationship_type = 'friend'
        join seda.friends back on back.user_id = f.friend_user_id
            and back.friend_user_id = f.user_id and back.relationship_type = 'friend'
        join seda.users u on u.id = f.friend_user_id and u.deleted_at is null
        where not exists (
            select from seda.friends b where b.relationship_type = 'block'
              and ((b.user_id = f.user_id and b.friend_user_id = f.friend_user_id)
                or (b.user_id = f.friend_user_id and b.friend_user_id = f.user_id)))
    ), hiding as (
        select viewer_id, count(*) as friends from known where hidden group by viewer_id
    )
    select c.viewer_id, c.room_id, r.name, c.came,
           jsonb_agg(jsonb_build_array(k.id, k.display_name, k.avatar_url)
                     order by p.joined_at, k.id) filter (where not k.hidden) as present,
           case when coalesce(max(h.friends), 0) >= 3
                then count(*) filter (where k.hidden) else 0 end as hidden
    from concerned c
    join seda.rooms r on r.id = c.room_id and r.deleted_at is null
    join known k on k.viewer_id = c.viewer_id
    join seda.room_presence p on p.room_id = c.room_id and p.user_id = k.id
    left join hiding h on h.viewer_id = c.viewer_id
    group by c.viewer_id, c.room_id, r.name, c.came
    having count(*) filter (where not k.hidden) > 0
    order by c.viewer_id, c.room_id
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
        _CANDIDATES,
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
