"""The questions that an inspection asks of loaded generations; `{begun}` and the like are values.

Each answers with generation, entity type and how many rows or lists break the invariant. They read
two temporary tables: `inspected`, the generations with their shard's buckets, and
`inspected_lists`, one row per person and type with what both published tables hold of it.
"""

from typing import Final

INSPECTED: Final = """
    create temporary table inspected on commit drop as
    select generation, shard, first_bucket, bucket_after, arm
    from unnest(%(generations)s::bigint[], %(shards)s::text[], %(first_buckets)s::int[],
                %(buckets_after)s::int[]) as g(generation, shard, first_bucket, bucket_after)
    cross join (select %(arm)s::text as arm) a"""

# Ids, scores and flags lie in the row; the cards, which are large and elsewhere, are not touched.
LISTS: Final = """
    create temporary table inspected_lists on commit drop as
    select generation, user_id, entity_type, coalesce(r.rows, 0) as rows,
           coalesce(r.last_rank, 0) as last_rank, coalesce(c.length, 0) as length,
           coalesce(c.is_even, false) as is_even, c.scores, c.is_new, c.entity_ids
    from (select generation, user_id, entity_type, count(*)::int as rows, max(rank) as last_rank
          from seda.recommendations where generation = any (%(generations)s::bigint[])
          group by 1, 2, 3) r
    full join (
        select generation, user_id, entity_type, cardinality(entity_ids) as length,
               cardinality(entity_ids) = cardinality(recommendation_ids)
               and cardinality(entity_ids) = cardinality(scores)
               and cardinality(entity_ids) = cardinality(is_new) as is_even,
               scores, is_new, entity_ids
        from seda.mv_user_top_candidates where generation = any (%(generations)s::bigint[])) c
    using (generation, user_id, entity_type);
    analyze inspected_lists (generation, user_id, entity_type)"""

# Who goes while the run is at work is answered at read time, from the live row.
DELETED: Final = """
    select generation, entity_type, count(*) from inspected_lists l
    left join seda.users u on u.id = l.user_id
    left join seda.tombstones t on t.user_id = l.user_id and t.scope = 'account'
    where coalesce(u.deleted_at, t.created_at) < %(begun)s
    group by generation, entity_type"""
# A person of another region has no row here, and none of another shard has a bucket of this one.
FOREIGN: Final = """
    select generation, entity_type, count(*) from inspected_lists l
    join inspected i using (generation)
    left join seda.users u on u.id = l.user_id
    where case when u.id is null
               then not exists (select from seda.tombstones t where t.user_id = l.user_id)
               else u.region <> seda.database_region()
                    or u.bucket < i.first_bucket or u.bucket >= i.bucket_after end
    group by generation, entity_type"""
# What is dismissed while the run is at work is hidden at read time.
SUPPRESSED: Final = """
    select generation, entity_type, count(*) from (
        select r.generation, r.entity_type, r.user_id, r.entity_id from seda.suppressions s
        join seda.recommendations r using (user_id, entity_type, entity_id)
        where r.generation = any (%(generations)s::bigint[]) and s.created_at < %(begun)s
          and (s.suppressed_until is null or s.suppressed_until > seda.clock())
        union
        select l.generation, l.entity_type, l.user_id, s.entity_id from seda.suppressions s
        join inspected_lists l using (user_id, entity_type)
        where s.entity_id = any (l.entity_ids) and s.created_at < %(begun)s
          and (s.suppressed_until is null or s.suppressed_until > seda.clock())) both_tables
    group by generation, entity_type"""
# A list holds what can be shown to anybody: entities that are in the catalogue, and public. What is
# withdrawn while the run is at work is in the lists that are served, too: that stops nothing.
WITHDRAWN: Final = """
    with offered as (
        select 'artist' as entity_type, id as entity_id, deleted_at as withdrawn_at
        from seda.artists
        union all select 'room', id, deleted_at from seda.rooms
        union all select 'playlist', id, least(
            deleted_at, case visibility when 'private' then last_updated end)
        from seda.playlists)
    select r.generation, r.entity_type, count(*) from seda.recommendations r
    left join offered o on o.entity_type = r.entity_type and o.entity_id = r.entity_id
    where r.generation = any (%(generations)s::bigint[])
      and (o.entity_id is null or o.withdrawn_at < %(begun)s)
    group by r.generation, r.entity_type"""

# The quota gives way to nothing but a lack of new items: where a prefix holds too few, no new item
# may follow (REC-4). `quotas` has the new items that a prefix of each length must hold.
NOVELTY: Final = """
    select generation, entity_type, count(*) from inspected_lists l
    where exists (
        select from (
            select place, new, count(*) filter (where new) over (order by place) as held
            from unnest(l.is_new) with ordinality as p(new, place)) prefix
        where place <= l.length
          and held < (%(quotas)s::int[])[least(place, cardinality(%(quotas)s::int[]))]
          and true = any (l.is_new[place + 1:]))
    group by generation, entity_type"""
# The rows' own scores are held in range by their table; those of the feed's lists are arrays.
SCORES: Final = """
    select generation, entity_type, count(*) from inspected_lists l
    where exists (select from unnest(l.scores) score where not score between 0 and 1)
    group by generation, entity_type"""
# Loaded, there, and the same in both tables; and no type missing that is served now. Lists of who
# leaves while the run is at work, or took imports back in the six hours before (forget_gone), are
# dropped after they were counted: so many may be missing, and none may be too many.
WHOLE: Final = """
    with gone as (
        select (select count(*) from seda.erased_people where erased_at >= %(begun)s)
             + (select count(*) from seda.tombstones
                where scope = 'imports'
                  and created_at >= %(begun)s::timestamptz - interval '6 hours') as people),
    counted as (
        select generation, entity_type, sum(rows) as rows,
               count(*) filter (where length > 0) as lists,
               count(*) filter (where rows <> length or last_rank <> length or not is_even)
                   as uneven
        from inspected_lists group by 1, 2),
    expected as (
        select i.generation, i.shard, i.arm, k.entity_type,
               (g.row_counts -> 'recommendations' ->> k.entity_type)::bigint as rows,
               (g.row_counts -> 'mv_user_top_candidates' ->> k.entity_type)::bigint as lists
        from inspected i join seda.generations g using (generation)
        cross join unnest(%(types)s::text[]) as k(entity_type))
    select e.generation, e.entity_type,
           greatest(1, coalesce(c.uneven, 0), abs(coalesce(c.rows, 0) - coalesce(e.rows, 0)),
                    abs(coalesce(c.lists, 0) - coalesce(e.lists, 0)))::bigint
    from expected e
    left join counted c on c.generation = e.generation and c.entity_type = e.entity_type
    left join seda.generation_pointer p
        on p.shard = e.shard and p.entity_type = e.entity_type and p.arm = e.arm
    left join seda.generations b on b.generation = p.generation
    cross join gone
    where coalesce(c.uneven, 0) > 0
       or coalesce(e.rows, 0) - coalesce(c.rows, 0) not between 0 and %(longest)s * gone.people
       or coalesce(e.lists, 0) - coalesce(c.lists, 0) not between 0 and gone.people
       or (c.rows is null
           and (b.row_counts -> 'recommendations' ->> e.entity_type)::bigint > 0
           and exists (select from seda.users u
                       join inspected i on u.bucket >= i.first_bucket and u.bucket < i.bucket_after
                       where i.generation = e.generation and u.deleted_at is null and coalesce(
                           u.privacy_settings -> 'recommendations', 'true') <> 'false'
                         and (i.arm = 'control' or seda.served_arm(u.id) = i.arm)))"""
# As many rows for a person as those that are served, within a factor; and no list beyond its end.
ROW_COUNT: Final = """
    with counted as (
        select generation, entity_type, sum(greatest(rows, length)) as rows,
               sum(greatest(rows, length, last_rank)
                   - %(longest)s) filter (where greatest(rows, length, last_rank) > %(longest)s)
                   as beyond
        from inspected_lists group by 1, 2),
    people as (
        select i.generation, count(*) as people from inspected i
        join seda.users u on u.bucket >= i.first_bucket and u.bucket < i.bucket_after
        where u.deleted_at is null
          and coalesce(u.privacy_settings -> 'recommendations', 'true') <> 'false'
          and (i.arm = 'control' or seda.served_arm(u.id) = i.arm)
        group by 1),
    compared as (
        select i.generation, k.entity_type, coalesce(c.rows, 0) as rows, c.beyond,
               (b.row_counts -> 'recommendations' ->> k.entity_type)::float8
               / nullif((b.row_counts -> 'mv_user_top_candidates' ->> k.entity_type)::float8, 0)
               * coalesce(n.people, 0) as expected
        from inspected i cross join unnest(%(types)s::text[]) as k(entity_type)
        left join counted c using (generation, entity_type)
        left join people n using (generation)
        left join seda.generation_pointer p
            on p.shard = i.shard and p.entity_type = k.entity_type and p.arm = i.arm
        left join seda.generations b on b.generation = p.generation)
    select generation, entity_type, greatest(beyond, abs(rows - expected)::bigint)::bigint
    from compared
    where beyond > 0 or (abs(rows - expected) > %(slack)s
                         and (rows > expected * %(factor)s or rows * %(factor)s < expected))"""
