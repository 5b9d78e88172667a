"""Maps what was staged to the catalogue, in a fixed number of statements for many people at once.

An artist is found by the provider's id, else by name; of several of a name, the most popular. What
is not in the catalogue is counted and left. Everything that is written carries the provider as its
source, so that it can be taken out again; what is written twice is the same as once.
"""

from dataclasses import dataclass
from datetime import datetime

import psycopg

from seda.database.regions import RegionalDatabase

MOST = 200

_INCOMING = """
    create temp table incoming on commit drop as
    select i.user_id, i.provider, i.staged from seda.provider_imports i
    join seda.linked_accounts l on l.user_id = i.user_id and l.provider = i.provider
    join seda.users u on u.id = i.user_id and u.deleted_at is null
    where i.staged is not null order by i.staged_at limit %(most)s for update of i skip locked
"""
_LISTED = """
    create temp table listed on commit drop as
    select i.user_id, i.provider, l.value ->> 'id' as external_id, l.value ->> 'name' as name,
           md5(i.user_id || '/' || i.provider || '/' || (l.value ->> 'id'))::uuid as id,
           case jsonb_typeof(l.value -> 'artists') when 'array' then l.value -> 'artists' end
               as artists
    from incoming i cross join lateral jsonb_array_elements(i.staged -> 'playlists') l
"""
# The places of artists among the favourites (no playlist) and within playlists.
_NAMED = """
    create temp table named on commit drop as
    select i.user_id, i.provider, null::uuid as playlist_id, a.place,
           a.value ->> 'id' as external_id, lower(a.value ->> 'name') as name
    from incoming i cross join lateral jsonb_array_elements(
        case jsonb_typeof(i.staged -> 'artists') when 'array' then i.staged -> 'artists'
        else '[]' end) with ordinality as a(value, place)
    union all
    select l.user_id, l.provider, l.id, a.place,
           a.value ->> 'id', lower(a.value ->> 'name')
    from listed l cross join lateral jsonb_array_elements(l.artists)
        with ordinality as a(value, place)
    where l.artists is not null
"""
_FOUND = """
    create temp table found on commit drop as
    with wanted as (select distinct provider, external_id, name from named)
    select distinct on (provider, external_id, name) provider, external_id, name, artist_id from (
        select w.*, a.id as artist_id, 0 as by_name, a.popularity_score
        from wanted w join seda.artists a on a.external_ids ->> w.provider = w.external_id
        where a.deleted_at is null
        union all
        select w.*, a.id, 1, a.popularity_score
        from wanted w join seda.artists a on lower(a.name) = w.name
        where a.deleted_at is null
    ) each order by provider, external_id, name, by_name, popularity_score desc, artist_id
"""
# The first of n favourites counts like n plays, the last like one.
_FAVOURITES = """
    with gone as (
        delete from seda.activity_counts c using incoming i
        where c.user_id = i.user_id and c.source = i.provider and c.entity_type = 'artist'
          and jsonb_typeof(i.staged -> 'artists') = 'array'
          and not exists (
              select from named n join found f using (provider, external_id, name)
              where n.user_id = c.user_id and n.playlist_id is null
                and f.artist_id = c.entity_id and c.period = %(day)s)
    )
    insert into seda.activity_counts (user_id, entity_type, entity_id, source, period, plays)
    select n.user_id, 'artist', f.artist_id, n.provider, %(day)s,
           max(jsonb_array_length(i.staged -> 'artists') + 1 - n.place)
    from named n join found f using (provider, external_id, name)
    join incoming i using (user_id, provider)
    where n.playlist_id is null group by n.user_id, f.artist_id, n.provider
    on conflict (user_id, entity_type, entity_id, source, period) do update
    set plays = excluded.plays
"""
_PLAYLISTS = """
    insert into seda.playlists (id, external_ids, name, owner_user_id, provider, track_count,
        visibility, created_at, last_updated)
    select id, jsonb_build_object(provider, external_id), name, user_id, provider,
           coalesce(jsonb_array_length(artists), 0), 'private', %(now)s, %(now)s
    from listed
    on conflict (id) do update
    set name = excluded.name, last_updated = excluded.last_updated,
        track_count = case when excluded.track_count > 0 then excluded.track_count
            else playlists.track_count end
    where playlists.owner_user_id = excluded.owner_user_id
"""
_PLAYLISTS_GONE = """
    delete from seda.playlists p using incoming i
    where p.owner_user_id = i.user_id and p.provider = i.provider and p.visibility = 'private'
      and not exists (select from listed l where l.id = p.id)
"""
_CONTENTS_GONE = """
    delete from seda.playlist_artists a using listed l
    where a.playlist_id = l.id and l.artists is not null
"""
_CONTENTS = """
    insert into seda.playlist_artists (playlist_id, artist_id, position)
    select n.playlist_id, f.artist_id, min(n.place)
    from named n join found f using (provider, external_id, name)
    where n.playlist_id is not null group by n.playlist_id, f.artist_id
"""
_PLAYLISTS_LISTENED = """
    with gone as (
        delete from seda.activity_counts c using incoming i
        where c.user_id = i.user_id and c.source = i.provider and c.entity_type = 'playlist'
          and not exists (
              select from listed l where l.id = c.entity_id and c.period = %(day)s)
    )
    insert into seda.activity_counts (user_id, entity_type, entity_id, source, period, plays)
    select distinct user_id, 'playlist', id, provider, %(day)s, 1 from listed
    on conflict do nothing
"""
# Counted over the whole batch: what was told of artists, what was found, what changed.
_CHANGED = """
    insert into seda.import_changes (user_id, changed_at)
    select distinct i.user_id, %(now)s from incoming i
    where jsonb_typeof(i.staged -> 'artists') = 'array' or exists (
        select from listed l where l.user_id = i.user_id and l.provider = i.provider
          and l.artists is not null)
    on conflict (user_id) do update set changed_at = excluded.changed_at, taste_at = null
    returning user_id
"""
_DONE = """
    update seda.provider_imports p
    set staged = null, staged_at = null, imported_at = %(now)s,
        artists = case when jsonb_typeof(i.staged -> 'artists') = 'array'
            then jsonb_array_length(i.staged -> 'artists') else p.artists end,
        matched_artists = case when jsonb_typeof(i.staged -> 'artists') = 'array' then (
            select count(distinct f.artist_id)
            from named n join found f using (provider, external_id, name)
            where n.user_id = i.user_id and n.provider = i.provider and n.playlist_id is null)
            else p.matched_artists end,
        playlists = jsonb_array_length(i.staged -> 'playlists'),
        genres = array(
            select g.value from jsonb_array_elements_text(i.staged -> 'genres')
                with ordinality as g(value, place)
            where exists (select from seda.artist_genres a where a.genre = g.value)
            order by g.place)
    from incoming i where i.user_id = p.user_id and i.provider = p.provider
    returning p.artists, p.matched_artists
"""
_LINKED = """
    update seda.linked_accounts l set state = 'linked', problem = null,
        last_synced_at = coalesce(l.last_synced_at, %(now)s)
    from incoming i where i.user_id = l.user_id and i.provider = l.provider
      and l.state <> 'revoked'
"""
_STEPS = (
    _INCOMING, _LISTED, _NAMED, _FOUND, _FAVOURITES, _PLAYLISTS, _PLAYLISTS_GONE, _CONTENTS_GONE,
    _CONTENTS, _PLAYLISTS_LISTENED, _LINKED,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ImportReport:
    """Imports that were mapped, people whose lists are out of date for it, and of the imports'
    favourite artists all and those found in the catalogue."""

    imports: int
    changed: int
    artists: int
    matched: int


def staged_imports(connection: psycopg.Connection) -> int:
    """How many imports wait to be mapped."""
    ((waiting,),) = connection.execute(
        "select count(*) from seda.provider_imports i join seda.linked_accounts l "
        "on l.user_id = i.user_id and l.provider = i.provider "
        "join seda.users u on u.id = i.user_id and u.deleted_at is null where staged is not null"
    ).fetchall()
    return int(waiting)


def apply_staged(database: RegionalDatabase, *, now: datetime, most: int = MOST) -> ImportReport:
    """Map up to `most` staged imports, oldest first: all of it or nothing."""
    values = {"now": now, "day": now.date(), "most": most}
    with database.transaction() as connection:
        for step in _STEPS:
            connection.execute(step, values)
        changed = connection.execute(_CHANGED, values).rowcount
        done = connection.execute(_DONE, values).fetchall()
    return ImportReport(len(done), changed, sum(row[0] for row in done), sum(r[1] for r in done))
