-- materialized: merge
-- owner: team:data
-- group: read_models
-- description: The 50 best rooms of every genre. The score (0 to 1) is seven parts popularity and
--   three parts trending; who is in a room right now is joined when it is read.
-- unique: [genre, room_id]
-- not_null: [rank, score]
-- touched: last_updated
with ranked as (
    select
        r.genre,
        r.id as room_id,
        0.7 * p.popularity + 0.3 * p.trending as score,
        row_number() over (
            partition by r.genre
            order by 0.7 * p.popularity + 0.3 * p.trending desc, p.listeners desc, r.id
        ) as rank
    from seda.rooms r
    join seda.entity_popularity p on p.entity_type = 'room' and p.entity_id = r.id
    where r.deleted_at is null and r.genre is not null
)
select
    k.genre,
    k.rank,
    k.room_id,
    k.score,
    seda.clock() as last_updated
from ranked k
where k.rank <= 50
