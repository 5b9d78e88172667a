-- materialized: merge
-- owner: team:data
-- group: activity
-- description: One row per living person with what they like most, best first: 50 artists and 50
--   playlists by plays that count half after 90 days, and 20 genres by the genre shares of those
--   artists. Who has not listened yet gets the genres of their onboarding. Imported sources are
--   left out from the moment a person asks for their deletion.
-- unique: [user_id]
-- not_null: [top_artists, top_genres, top_playlists, privacy_flags]
-- touched: last_computed
-- per: user
with today as materialized (
    select (seda.clock() at time zone 'UTC')::date as day
),
people as (
    select
        u.id as user_id,
        u.privacy_settings,
        case
            when jsonb_typeof(u.preferences -> 'genres') = 'array' then u.preferences -> 'genres'
            else '[]'::jsonb
        end as chosen_genres,
        exists (
            select 1 from seda.tombstones t where t.user_id = u.id and t.purged_at is null
        ) as imports_withdrawn
    from seda.users u
    where u.deleted_at is null
)
-- One person at a time: their rows lie together in the primary key, so nothing large is sorted.
-- Affinities are whole millionths: sums of integers do not depend on the order of the rows.
select
    p.user_id,
    coalesce(artists.ids, '{}'::uuid[]) as top_artists,
    coalesce(
        genres.names,
        array(select c.genre from jsonb_array_elements_text(p.chosen_genres) as c(genre))
    ) as top_genres,
    coalesce(playlists.ids, '{}'::uuid[]) as top_playlists,
    p.privacy_settings as privacy_flags,
    seda.clock() as last_computed
from people p
cross join today
cross join lateral (
    select
        array_agg(b.artist_id order by b.affinity desc, b.artist_id) as ids,
        array_agg(b.affinity order by b.affinity desc, b.artist_id) as affinities
    from (
        select
            c.entity_id as artist_id,
            sum((1000000 * c.plays * power(
                0.5::double precision,
                least(greatest(today.day - c.period, 0) / 90::double precision, 20)
            ))::bigint)::bigint as affinity
        from seda.activity_counts c
        where c.user_id = p.user_id and c.entity_type = 'artist'
            and (c.source = 'seda' or not p.imports_withdrawn)
        group by c.entity_id
        order by affinity desc, artist_id
        limit 50
    ) b
    join seda.artists a on a.id = b.artist_id and a.deleted_at is null
) artists
cross join lateral (
    select array_agg(b.playlist_id order by b.affinity desc, b.playlist_id) as ids
    from (
        select
            c.entity_id as playlist_id,
            sum((1000000 * c.plays * power(
                0.5::double precision,
                least(greatest(today.day - c.period, 0) / 90::double precision, 20)
            ))::bigint)::bigint as affinity
        from seda.activity_counts c
        where c.user_id = p.user_id and c.entity_type = 'playlist'
            and (c.source = 'seda' or not p.imports_withdrawn)
        group by c.entity_id
        order by affinity desc, playlist_id
        limit 50
    ) b
    join seda.playlists l on l.id = b.playlist_id and l.deleted_at is null
) playlists
cross join lateral (
    select array_agg(g.genre order by g.affinity desc, g.genre) as names
    from (
        select
            s.genre,
            sum((1000000 * s.share * ln(1 + s.affinity / 1000000::double precision))::bigint)
                ::bigint as affinity
        from (
            select
                g.genre,
                f.affinity,
                g.weight / sum(g.weight::double precision) over (partition by g.artist_id) as share
            from unnest(artists.ids, artists.affinities) as f(artist_id, affinity)
            join seda.artist_genres g on g.artist_id = f.artist_id
        ) s
        group by s.genre
        order by affinity desc, genre
        limit 20
    ) g
) genres
