-- materialized: merge
-- owner: team:data
-- group: read_models
-- description: The feed's fall-back lists, the 100 best artists, playlists and rooms of every
--   genre; the genre '*' holds the best everywhere. The score (0 to 1) is seven parts popularity
--   and three parts trending, times the square root of the genre's share of the artist.
-- unique: [genre, entity_type, entity_id]
-- not_null: [rank, name, score]
-- accepted_values: {entity_type: [room, playlist, artist]}
-- touched: last_updated
with memberships as (
    select
        g.genre,
        'artist' as entity_type,
        a.id as entity_id,
        a.name,
        g.weight / sum(g.weight::double precision) over (partition by g.artist_id) as share
    from seda.artist_genres g
    join seda.artists a on a.id = g.artist_id
    union all
    select l.genre, 'playlist', l.id, l.name, 1
    from seda.playlists l
    where l.genre is not null
    union all
    select r.genre, 'room', r.id, r.name, 1
    from seda.rooms r
    where r.genre is not null
    union all
    select '*', 'artist', a.id, a.name, 1
    from seda.artists a
    union all
    select '*', 'playlist', l.id, l.name, 1
    from seda.playlists l
    union all
    select '*', 'room', r.id, r.name, 1
    from seda.rooms r
),
-- Only what is public and not deleted has a popularity.
scored as (
    select
        m.genre, m.entity_type, m.entity_id, m.name, p.listeners,
        sqrt(m.share) * (0.7 * p.popularity + 0.3 * p.trending) as score
    from memberships m
    join seda.entity_popularity p
        on p.entity_type = m.entity_type and p.entity_id = m.entity_id
),
ranked as (
    select
        s.genre, s.entity_type, s.entity_id, s.name, s.score,
        row_number() over (
            partition by s.genre, s.entity_type
            order by s.score desc, s.listeners desc, s.entity_id
        ) as rank
    from scored s
)
select
    k.genre,
    k.entity_type,
    k.rank,
    k.entity_id,
    k.name,
    k.score,
    seda.clock() as last_updated
from ranked k
where k.rank <= 100
