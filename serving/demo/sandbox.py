"""The listeners that the page may speak for: made by a seed or an import, never signed up.

It reads as `service_role`, because it chooses among people and is none; the page itself then reads
and writes with their tokens, under row-level security.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import orjson

from seda.database.regions import Region
from seda.people.tokens import token_of
from seda.settings import Settings
from serving.pools import Pools
from serving.problems import ProblemError

TOKEN_LIFETIME: Final = timedelta(minutes=15)
LISTENERS_PER_REGION: Final = 6
MOST_FRIENDS: Final = 12
_CONSIDERED = 400

# Subjects that a seed or an import made are functions of a name (UUIDv5); whoever signed up has a
# random one (UUIDv4), and is nobody whom this page may speak for.
_SANDBOXED = """
    select id, auth_user_id, avatar_url, external_ids,
           coalesce(display_name, external_ids ->> 'lastfm', 'Listener ' || left(id::text, 4))
               as name,
           coalesce(privacy_settings -> 'hide_presence', 'false') <> 'false' as hides_presence
    from seda.users where deleted_at is null and substr(auth_user_id, 15, 1) = '5'
"""
# Whom a person hears of: friends both ways, no block either way.
_FRIENDSHIPS = """
    select f.user_id, f.friend_user_id from seda.friends f
    join seda.friends back on back.user_id = f.friend_user_id and back.friend_user_id = f.user_id
        and back.relationship_type = 'friend'
    where f.relationship_type = 'friend' and not exists (
        select from seda.friends b where b.relationship_type = 'block'
          and ((b.user_id = f.user_id and b.friend_user_id = f.friend_user_id)
            or (b.user_id = f.friend_user_id and b.friend_user_id = f.user_id)))
"""
# $1 how many people with a published list to choose among, $2 how many to return
_LISTENERS = """
with listed as materialized (
    select distinct c.user_id from seda.generation_pointer p
    join seda.mv_user_top_candidates c
      on c.generation = p.generation and c.entity_type = p.entity_type
    where p.arm = 'control' and p.entity_type = 'room'
    order by c.user_id limit $1
)
select u.id, u.name, u.avatar_url, count(*) as friends,
       count(*) filter (where not friend.hides_presence and exists (
           select from seda.room_presence r where r.user_id = friend.id)) as friends_in_rooms
from listed
join ({sandboxed}) u on u.id = listed.user_id
join ({friendships}) f on f.user_id = u.id
join ({sandboxed}) friend on friend.id = f.friend_user_id
group by u.id, u.name, u.avatar_url
order by friends_in_rooms desc, friends desc, u.id
limit $2
""".replace("{sandboxed}", _SANDBOXED).replace("{friendships}", _FRIENDSHIPS)
# $1 the listener, $2 how many at most
_FRIENDS = """
select friend.id, friend.name, friend.avatar_url, friend.hides_presence,
       coalesce((select jsonb_agg(jsonb_build_object('id', r.id, 'name', r.name) order by r.name)
        from seda.room_presence p join seda.rooms r on r.id = p.room_id and r.deleted_at is null
        where p.user_id = friend.id), '[]') as rooms
from ({friendships}) f join ({sandboxed}) friend on friend.id = f.friend_user_id
where f.user_id = $1
order by friend.hides_presence,
    exists (select from seda.room_presence p where p.user_id = friend.id) desc,
    friend.name, friend.id
limit $2
""".replace("{sandboxed}", _SANDBOXED).replace("{friendships}", _FRIENDSHIPS)
_SUBJECT = "select auth_user_id from ({sandboxed}) u where id = $1".replace(
    "{sandboxed}", _SANDBOXED
)


@dataclass(frozen=True)
class Sandbox:
    """Listeners of both regions and tokens for them."""

    settings: Settings
    pools: Pools
    clock: Callable[[], datetime]

    async def listeners(self) -> list[dict[str, Any]]:
        """A few listeners of each region with a published feed and friends, liveliest first."""
        found: list[dict[str, Any]] = []
        for region in Region:
            async with self.pools.transaction(region, readonly=True) as connection:
                rows = await connection.fetch(_LISTENERS, _CONSIDERED, LISTENERS_PER_REGION)
            found += ({**row, "region": region} for row in rows)
        return found

    async def friends(self, user_id: UUID) -> list[dict[str, Any]]:
        """The listener's friends and the rooms that they are in, hidden or not, those first.

        Raises:
            ProblemError: 404, the sandbox has no such listener.
        """
        region, _ = await self._find(user_id)
        async with self.pools.transaction(region, readonly=True) as connection:
            rows = await connection.fetch(_FRIENDS, user_id, MOST_FRIENDS)
        return [{**row, "rooms": orjson.loads(row["rooms"])} for row in rows]

    async def token(self, user_id: UUID) -> str:
        """A short-lived token of the listener.

        Raises:
            ProblemError: 404, the sandbox has no such listener.
            ForeignTokensError: tokens are somebody else's to mint.
        """
        _, subject = await self._find(user_id)
        return token_of(self.settings, subject, TOKEN_LIFETIME, self.clock())

    async def _find(self, user_id: UUID) -> tuple[Region, UUID]:
        for region in Region:
            async with self.pools.transaction(region, readonly=True) as connection:
                subject = await connection.fetchval(_SUBJECT, user_id)
            if subject is not None:
                return region, UUID(subject)
        raise ProblemError(404, "unknown_listener", "The sandbox has no listener of this id.")


@asynccontextmanager
async def open_sandbox(
    settings: Settings, urls: Mapping[Region, str], clock: Callable[[], datetime]
) -> AsyncIterator[Sandbox]:
    """The sandbox over the owner's databases; no connection is opened before it is asked."""
    pools = Pools(urls, role="service_role")
    await pools.open()
    try:
        yield Sandbox(settings, pools, clock)
    finally:
        await pools.close()
