"""The statements of a delta re-rank, in the order in which they run (`overlays`)."""

from seda.activity.snapshot_queries import FRIENDSHIP
from seda.recommender.terms import INPUTS

# Anything but a plain false hides or opts out: a malformed setting must not give a person away.
_VISIBLE = (
    "u.deleted_at is null and coalesce(u.privacy_settings -> 'hide_presence', 'false') = 'false'"
)


def _of(text: str, **parts: str) -> str:
    """A statement with what several of them share; nothing in it comes from outside."""
    shared = {
        "visible": _VISIBLE,
        "friendship": FRIENDSHIP,
        "inputs": str(len(INPUTS)),
        "signals": ", ".join(f"r.signals[{place + 1}]" for place in range(len(INPUTS))),
    }
    for name, part in (shared | parts).items():
        text = text.replace("{" + name + "}", part)
    return text


# Plans over tables that were empty a moment ago: look-ups, whatever the planner believes, so that
# what is read grows with the people concerned. `offset 0` keeps the order of a look-up.
LOOK_UPS = """
    set local enable_hashjoin = off;
    set local enable_mergejoin = off;
    set local enable_seqscan = off
"""

TABLES = """
    create temp table concerned (user_id uuid not null, shard text not null) on commit drop;
    create temp table lists (
        place integer primary key, user_id uuid not null unique, generation bigint not null,
        model_version text not null, entity_ids uuid[] not null, is_new boolean[] not null,
        pool_size integer not null, presence real[] not null
    ) on commit drop;
    create temp table sightings (
        place integer not null, room_id uuid not null, log float4 not null
    ) on commit drop;
    create temp table staged (
        place integer primary key, ranks real[] not null, scores real[] not null,
        presence real[] not null, signals real[] not null, lifts real[] not null
    ) on commit drop;
"""

# Whom the events of friends who show themselves concern, and whose overlay has to be made again:
# it is about to expire, or its list is no longer the one that is served.
_CONCERNED = _of("""
    with served as (
        select u.id, u.region || '-' || lpad((((u.bucket + 1) * %(shards)s - 1) / 64)::text, 2, '0')
            as shard
        from seda.users u
        where u.deleted_at is null
          and coalesce(u.privacy_settings -> 'recommendations', 'true') <> 'false'
    ), actors as materialized (
        select distinct e.user_id from seda.social_events e
        where e.transaction_id >= %(since)s::text::xid8 and e.transaction_id < %(until)s::text::xid8
          and e.kind in ('join', 'leave')
    ), friends as (
        select f.user_id from actors a join seda.users u on u.id = a.user_id and {visible}
        cross join lateral (
            select * from seda.friends where friend_user_id = a.user_id offset 0) f
        where {friendship}
    ), due as (
        select r.user_id from seda.realtime_rankings r join served s on s.id = r.user_id
        where r.expires_at < %(renewed)s or not exists (
            select from seda.generation_pointer p where p.shard = s.shard
              and p.entity_type = r.entity_type and p.arm = 'control'
              and p.generation = r.generation)
        order by r.expires_at limit %(most)s
    ), people as (
        select user_id from friends union select user_id from due
    )
""")
CONCERNED = _of(
    """
    insert into concerned {concerned}
    select s.id, s.shard from served s join people p on p.user_id = s.id
""",
    concerned=_CONCERNED,
)
COUNT = _of(
    """
    {concerned} select count(*) from served s join people p on p.user_id = s.id
""",
    concerned=_CONCERNED,
)
LISTS = """
    insert into lists
    select row_number() over (order by c.user_id) - 1, c.user_id, m.generation, m.model_version,
           m.entity_ids, m.is_new, m.pool_size, coalesce(m.presence, '{}')
    from concerned c
    join seda.generation_pointer p
        on p.shard = c.shard and p.entity_type = 'room' and p.arm = 'control'
    join seda.mv_user_top_candidates m on m.generation = p.generation and m.user_id = c.user_id
        and m.entity_type = 'room' and m.pool_size is not null and m.is_new is not null
"""
PEOPLE = """
    select place, model_version, pool_size, cardinality(entity_ids) from lists order by place
"""
LISTED = _of("""
    select l.place, l.is_new[r.rank], r.score, coalesce(l.presence[r.rank], 0)::float4,
           {signals}
    from lists l cross join lateral (
        select rank, score, signals from seda.recommendations
        where generation = l.generation and user_id = l.user_id
          and entity_type = 'room' and cardinality(signals) = {inputs} offset 0) r
    order by l.place, r.rank
""")
# Who is counted cannot hide before this transaction is over: then the trigger finds its overlays.
HOLD_FRIENDS = _of("""
    select from seda.users u
    where {visible} and u.id in (
        select p.user_id from lists l
        cross join lateral (
            select friend_user_id from seda.friends
            where user_id = l.user_id and relationship_type = 'friend' offset 0) f
        cross join lateral (
            select user_id from seda.room_presence
            where user_id = f.friend_user_id and departure is distinct from 'said' offset 0) p)
    for share of u
""")
# Who said that they left lingers, and their leave is read already: nothing would come after it. A
# lost connection's leave is yet to come, if it does.
SIGHTINGS = _of("""
    insert into sightings
    select l.place, p.room_id, ln(1 - %(attention)s * exp(-least(50, greatest(0, extract(
               epoch from %(now)s - p.last_seen_at)::float8 / %(stale_after)s))))
    from lists l
    cross join lateral (select * from seda.friends where user_id = l.user_id offset 0) f
    cross join lateral (
        select user_id, room_id, last_seen_at from seda.room_presence
        where user_id = f.friend_user_id and departure is distinct from 'said'
          and (connections > 0 or held_until > %(now)s) offset 0) p
    join seda.users u on u.id = p.user_id and {visible}
    where {friendship}
""")
# A room without a place counts among the candidates, where the night would have proposed it.
SEEN = """
    select s.place, coalesce(array_position(l.entity_ids, s.room_id), 0),
           count(*)::float4, sum(s.log)::float4
    from sightings s join lists l on l.place = s.place
    where s.room_id = any (l.entity_ids) or not exists (
              select from seda.room_members m
              where m.user_id = l.user_id and m.room_id = s.room_id)
          and not exists (
              select from seda.activity_counts a where a.user_id = l.user_id
                and a.entity_type = 'room' and a.entity_id = s.room_id)
    group by s.place, s.room_id, l.entity_ids order by s.place, s.room_id
"""
MERGE = """
    insert into seda.realtime_rankings (user_id, entity_type, generation, model_version, ranks,
        scores, presence, lifts, signals, computed_at, expires_at)
    select l.user_id, 'room', l.generation, l.model_version, s.ranks::smallint[], s.scores,
           s.presence, s.lifts, s.signals, %(now)s, %(expires)s
    from staged s join lists l on l.place = s.place order by l.user_id
    on conflict (user_id, entity_type) do update
    set generation = excluded.generation, model_version = excluded.model_version,
        ranks = excluded.ranks, scores = excluded.scores, presence = excluded.presence,
        lifts = excluded.lifts, signals = excluded.signals, computed_at = excluded.computed_at,
        expires_at = excluded.expires_at
    returning user_id
"""
DROP = """
    delete from seda.realtime_rankings r using concerned c
    where r.user_id = c.user_id and not exists (
        select from staged s join lists l on l.place = s.place where l.user_id = r.user_id)
    returning r.user_id
"""
FORGET = "delete from seda.realtime_rankings where expires_at <= %s"
