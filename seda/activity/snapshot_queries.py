"""The queries behind a region's snapshot; `{kind}` stands for an entity type of ours.

Each gives a row id, a column id and values as float4, one row per pair.
"""

# A follow says as much as this many plays, so that a follow alone makes an artist known.
FOLLOW_PLAYS = 10.0

# Recency is measured from the newest period, not from now: an import without times has one period,
# and all of it counts in full.
_AGGREGATED = """
    select user_id, entity_id, sum(amount)::float4, sum(amount * weight)::float4 from (
        select user_id, entity_id, plays::float8 as amount,
               0.5 ^ (((select max(period) from seda.activity_counts) - period) / 60.0) as weight
        from seda.activity_counts where entity_type = '{kind}' {also}
    ) each group by user_id, entity_id"""
_ALSO = {
    "artist": "union all select user_id, artist_id, {follow}, 1 from seda.artist_follows",
    "room": "union all select user_id, room_id, 1, 1 from seda.room_members",
    "playlist": "",
}
PLAYS = {
    kind: _AGGREGATED.replace("{kind}", kind).replace(
        "{also}", also.replace("{follow}", str(FOLLOW_PLAYS))
    )
    for kind, also in _ALSO.items()
}
"""By type: plays, and plays halved every 60 days."""

OWNED_PLAYLISTS = (
    "select owner_user_id, id, 1::float4 from seda.playlists where owner_user_id is not null"
)

# As the live view and the real-time service see it: who ended a friendship moves nothing any more.
FRIENDSHIP = """
    f.relationship_type = 'friend' and exists (
        select from seda.friends back where back.relationship_type = 'friend'
          and back.user_id = f.friend_user_id and back.friend_user_id = f.user_id)
    and not exists (
        select from seda.friends b where b.relationship_type = 'block'
          and ((b.user_id = f.user_id and b.friend_user_id = f.friend_user_id)
            or (b.user_id = f.friend_user_id and b.friend_user_id = f.user_id)))"""
FRIENDS = """
    select f.user_id, f.friend_user_id, 1::float4 from seda.friends f
    where {friendship}""".replace("{friendship}", FRIENDSHIP)
# Anything but a plain false hides: a malformed setting must not give a person away.
VISIBLE_PRESENCE = """
    select f.user_id, p.room_id, count(*)::float4,
           sum(ln(1 - {attention} * exp(-least(50, greatest(0, extract(
               epoch from seda.clock() - p.last_seen_at)::float8 / {stale_after})))))::float4
    from seda.room_presence p
    join seda.friends f on f.friend_user_id = p.user_id
    join seda.users u on u.id = p.user_id and u.deleted_at is null
         and coalesce(u.privacy_settings -> 'hide_presence', 'false') = 'false'
    where {friendship} and (p.connections > 0 or p.held_until > seda.clock())
    group by f.user_id, p.room_id""".replace("{friendship}", FRIENDSHIP)

SUPPRESSED = """
    select user_id, entity_id, 1::float4 from seda.suppressions
    where entity_type = '{kind}'
      and (suppressed_until is null or suppressed_until > seda.clock())"""
SHOWN_RECENTLY = """
    select user_id, entity_id, count(*)::float4 from seda.impressions
    where entity_type = '{kind}' and shown_at > seda.clock() - interval '14 days'
    group by user_id, entity_id"""

# The same caution the other way: only a plain false opts out.
PEOPLE = """
    select id, bucket, coalesce(privacy_settings -> 'recommendations', 'true') <> 'false'
    from seda.users where deleted_at is null order by bucket, id"""
