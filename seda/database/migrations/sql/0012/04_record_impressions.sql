-- As before, and the page says which arm the lists that it shows were made for.
create or replace function seda.record_impressions(
    user_ids uuid[], surfaces text[], request_ids text[], moments timestamptz[],
    entity_types text[], generations bigint[], model_versions text[], positions text[],
    recommendation_ids text[], entity_ids text[]
) returns void
language plpgsql volatile security definer set search_path = '' as $$
begin
    -- One at a time opens one partition.
    for page in 1 .. cardinality(user_ids) loop
        insert into seda.impression_pages (id, user_id, entity_type, generation, model_version,
            arm, surface, request_id, shown_at, positions, recommendation_ids, entity_ids,
            propensities, features, again)
        select gen_random_uuid(), user_ids[page], entity_types[page], generations[page],
               coalesce(r.model_version, model_versions[page]),
               coalesce((select g.arm from seda.generations g
                         where g.generation = generations[page]), 'control'),
               surfaces[page], request_ids[page], moments[page], shown.places, shown.ids, entity_ids[page]::uuid[],
               r.propensities, r.features, exists (
                   select from seda.impression_pages p
                   where p.user_id = user_ids[page] and p.surface = surfaces[page]
                     and p.entity_type = entity_types[page] and not p.again
                     and p.positions[1] / 10 = shown.places[1] / 10
                     and p.shown_at > moments[page] - interval '10 minutes'
                     and p.shown_at <= moments[page])
        from (select recommendation_ids[page]::uuid[] as ids,
                     positions[page]::integer[] as places) shown
        left join lateral (
            select max(r.model_version) as model_version,
                   case when bool_or(r.context ? 'exploration') then array_agg(coalesce(
                       (r.context -> 'exploration' ->> 'propensity')::real, 1) order by i.place) end
                       as propensities,
                   case when count(r.signals) = count(*) then array_agg(r.signals order by i.place)
                       filter (where r.signals is not null) end as features
            from unnest(shown.ids) with ordinality as i(id, place)
            join seda.recommendations r on r.generation = generations[page]
                and r.user_id = user_ids[page] and r.id = i.id
            having count(*) = cardinality(shown.ids)
        ) r on true;
    end loop;
end
$$;
