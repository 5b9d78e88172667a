-- Of every item that is shown: whether it was new to the person (as computed, SPEC REC-4; null where
-- nothing was computed), and whether its card said that friends are there (null: none of the page).
alter table seda.impression_pages
    add is_new boolean[] check (cardinality(is_new) = cardinality(positions)),
    add with_friends boolean[] check (cardinality(with_friends) = cardinality(positions));

create or replace view seda.impressions with (security_invoker = true) as
select p.id as page_id, p.user_id, i.recommendation_id, p.generation, p.entity_type, i.entity_id,
       p.surface, i.position, coalesce(i.propensity, 1::real) as propensity,
       case when p.features is not null then
           array(select unnest(p.features[i.place:i.place])) end as features,
       p.model_version, p.arm, p.request_id, p.shown_at, p.again, i.is_new,
       coalesce(i.with_friends, false) as with_friends
from seda.impression_pages p
cross join lateral unnest(p.positions, p.recommendation_ids, p.entity_ids, p.propensities,
                          p.is_new, p.with_friends)
    with ordinality as i(position, recommendation_id, entity_id, propensity, is_new, with_friends,
                         place);

-- As before (0012), with both.
drop function seda.record_impressions(uuid[], text[], text[], timestamptz[], text[], bigint[],
    text[], text[], text[], text[]);
create function seda.record_impressions(
    user_ids uuid[], surfaces text[], request_ids text[], moments timestamptz[],
    entity_types text[], generations bigint[], model_versions text[], positions text[],
    recommendation_ids text[], entity_ids text[],
    with_friends text[] default null
) returns void
language plpgsql volatile security definer set search_path = ''
-- A plan that was made while a partition was empty is kept: it must not read the whole of it.
set enable_seqscan = off as $$
begin
    -- One at a time opens one partition.
    for page in 1 .. cardinality(user_ids) loop
        insert into seda.impression_pages (id, user_id, entity_type, generation, model_version,
            arm, surface, request_id, shown_at, positions, recommendation_ids, entity_ids,
            propensities, features, again, is_new, with_friends)
        select gen_random_uuid(), user_ids[page], entity_types[page], generations[page],
               coalesce(r.model_version, model_versions[page]),
               coalesce((select g.arm from seda.generations g
                         where g.generation = generations[page]), 'control'),
               surfaces[page], request_ids[page], moments[page], shown.places, shown.ids,
               entity_ids[page]::uuid[],
               r.propensities, r.features, exists (
                   select from seda.impression_pages p
                   where p.user_id = user_ids[page] and p.surface = surfaces[page]
                     and p.entity_type = entity_types[page] and not p.again
                     and p.positions[1] / 10 = shown.places[1] / 10
                     and p.shown_at > moments[page] - interval '10 minutes'
                     and p.shown_at <= moments[page]),
               r.is_new, with_friends[page]::boolean[]
        from (select recommendation_ids[page]::uuid[] as ids,
                     positions[page]::integer[] as places) shown
        left join lateral (
            select max(r.model_version) as model_version,
                   case when bool_or(r.context ? 'exploration') then array_agg(coalesce(
                       (r.context -> 'exploration' ->> 'propensity')::real, 1) order by i.place) end
                       as propensities,
                   case when count(r.signals) = count(*) then array_agg(r.signals order by i.place)
                       filter (where r.signals is not null) end as features,
                   array_agg((r.context ->> 'is_new')::boolean order by i.place) as is_new
            from unnest(shown.ids) with ordinality as i(id, place)
            join seda.recommendations r on r.generation = generations[page]
                and r.user_id = user_ids[page] and r.id = i.id
            having count(*) = cardinality(shown.ids)
        ) r on true;
    end loop;
end
$$;
revoke execute on function seda.record_impressions(uuid[], text[], text[], timestamptz[], text[],
    bigint[], text[], text[], text[], text[], text[]) from public;
grant execute on function seda.record_impressions(uuid[], text[], text[], timestamptz[], text[],
    bigint[], text[], text[], text[], text[], text[]) to seda_api;
