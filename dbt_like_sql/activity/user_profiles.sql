-- materialized: merge
-- owner: team:data
-- group: activity
-- description: One row per living person with what they like most, best first: up to 50 artists
--   and 50 playlists by plays that count half after 90 days, and up to 20 genres by the genre
--   shares of the first 25 artists, discounted by place. Who has not listened yet gets the genres
--   of their onboarding. Imported sources are left out from the moment a person asks for their
--   deletion.
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
),
-- One person at a time: their rows lie together in the primary key, so nothing large is sorted.
-- Affinities are whole millionths: sums of integers do not depend on the order of the rows.
favourites as materialized (
    select
        p.user_id,
        p.privacy_settings,
        p.chosen_genres,
        array(
            select b.artist_id
            from (
                select
                    c.entity_id as artist_id,
                    sum((1000000 * c.plays * power(
                        0.5::double precision,
                        least(greatest(today.day - c.period, 0) / 90::double precision, 20)
                    ))::bigint) as affinity
                from seda.activity_counts c
                where c.user_id = p.user_id and c.entity_type = 'artist'
                    and (c.source = 'seda' or not p.imports_withdrawn)
                group by c.entity_id
                order by affinity desc, artist_id
                limit 50
            ) b
            join seda.artists a on a.id = b.artist_id and a.deleted_at is null
            order by b.affinity desc, b.artist_id
        ) as artists,
        array(
            select b.playlist_id
            from (
                select
                    c.entity_id as playlist_id,
                    sum((1000000 * c.plays * power(
                        0.5::double precision,
                        least(greatest(today.day - c.period, 0) / 90::double precision, 20)
                    ))::bigint) as affinity
                from seda.activity_counts c
                where c.user_id = p.user_id and c.entity_type = 'playlist'
                    and (c.source = 'seda' or not p.imports_withdrawn)
                group by c.entity_id
                order by affinity desc, playlist_id
                limit 50
            ) b
            join seda.playlists l on l.id = b.playlist_id and l.deleted_at is null
            order by b.affinity desc, b.playlist_id
        ) as playlists
    from people p
    cross join today
)
select
    f.user_id,
    f.artists as top_artists,
    case
        when cardinality(f.artists) > 0 then array(
            select s.genre
            from (
                select
                    g.genre,
                    g.weight / sum(g.weight::double precision) over (partition by g.artist_id)
                        / ln(1 + t.place::double precision) as share
                from unnest(f.artists[1:25]) with ordinality as t(artist_id, place)
                join seda.artist_genres g on g.artist_id = t.artist_id
            ) s
            group by s.genre
            order by sum((1000000 * s.share)::bigint) desc, s.genre
            limit 20
        )
        else array(select c.genre from jsonb_array_elements_text(f.chosen_genres) as c(genre))
    end as top_genres,
    f.playlists as top_playlists,
    f.privacy_settings as privacy_flags,
    seda.clock() as last_computed
from favourites f
