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
),
-- Affinities are whole millionths: sums of integers do not depend on the order of the rows.
played as (
    select
        c.user_id, c.entity_type, c.entity_id,
        sum((1000000 * c.plays * power(
            0.5::double precision,
            least(greatest(today.day - c.period, 0) / 90::double precision, 20)
        ))::bigint)::bigint as affinity
    from seda.activity_counts c
    join people p on p.user_id = c.user_id
    cross join today
    where c.entity_type in ('artist', 'playlist')
        and (c.source = 'seda' or not p.imports_withdrawn)
    group by c.user_id, c.entity_type, c.entity_id
),
ranked as (
    select
        d.user_id, d.entity_type, d.entity_id, d.affinity,
        row_number() over (
            partition by d.user_id, d.entity_type order by d.affinity desc, d.entity_id
        ) as place
    from played d
    left join seda.artists a on d.entity_type = 'artist' and a.id = d.entity_id
    left join seda.playlists l on d.entity_type = 'playlist' and l.id = d.entity_id
    where (a.id is not null and a.deleted_at is null)
        or (l.id is not null and l.deleted_at is null)
),
best as (
    select r.user_id, r.entity_type, r.entity_id, r.affinity, r.place
    from ranked r
    where r.place <= 50
),
favourites as (
    select
        b.user_id,
        array_agg(b.entity_id order by b.place) filter (where b.entity_type = 'artist') as artists,
        array_agg(b.entity_id order by b.place)
            filter (where b.entity_type = 'playlist') as playlists
    from best b
    group by b.user_id
),
shares as (
    select
        g.artist_id,
        g.genre,
        g.weight / sum(g.weight::double precision) over (partition by g.artist_id) as share
    from seda.artist_genres g
    where g.artist_id in (select b.entity_id from best b where b.entity_type = 'artist')
),
genre_affinities as (
    select
        b.user_id,
        s.genre,
        sum((1000000 * s.share * ln(1 + b.affinity::double precision / 1000000))::bigint)
            as affinity
    from best b
    join shares s on s.artist_id = b.entity_id
    where b.entity_type = 'artist'
    group by b.user_id, s.genre
),
ranked_genres as (
    select
        g.user_id,
        g.genre,
        row_number() over (partition by g.user_id order by g.affinity desc, g.genre) as place
    from genre_affinities g
),
genres as (
    select r.user_id, array_agg(r.genre order by r.place) as names
    from ranked_genres r
    where r.place <= 20
    group by r.user_id
)
select
    p.user_id,
    coalesce(f.artists, '{}'::uuid[]) as top_artists,
    coalesce(
        g.names, array(select c.genre from jsonb_array_elements_text(p.chosen_genres) as c(genre))
    ) as top_genres,
    coalesce(f.playlists, '{}'::uuid[]) as top_playlists,
    p.privacy_settings as privacy_flags,
    seda.clock() as last_computed
from people p
left join favourites f on f.user_id = p.user_id
left join genres g on g.user_id = p.user_id
