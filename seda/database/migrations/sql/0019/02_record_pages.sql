-- What seda.record_impressions does, for less: what the person's lists hold of the items is found in
-- one pass of the index, and the rows of all pages are inserted together. is_new is what the list
-- says, null where no list does. Arrays of a page's items come as text, which a driver makes and we
-- read faster than arrays of arrays. The old function stays for processes of the version before.
create function seda.record_pages(
    user_ids uuid[], surfaces text[], request_ids text[], moments timestamptz[],
    entity_types text[], generations bigint[], model_versions text[], positions text[],
    recommendation_ids text[], entity_ids text[], is_new text[], with_friends text[]
) returns void
language plpgsql volatile security definer set search_path = ''
-- A plan that was made while a partition was empty is kept: it must not read the whole of it.
set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
declare
    pages seda.impression_pages[];
    page seda.impression_pages;
    ids uuid[];
begin
    -- One at a time opens one partition of the lists.
    for n in 1 .. cardinality(user_ids) loop
        ids := recommendation_ids[n];
        page.id := gen_random_uuid();
        page.user_id := user_ids[n];
        page.entity_type := entity_types[n];
        page.generation := generations[n];
        page.surface := surfaces[n];
        page.request_id := request_ids[n];
        page.shown_at := moments[n];
        page.positions := positions[n];
        page.recommendation_ids := ids;
        page.entity_ids := entity_ids[n];
        page.is_new := is_new[n];
        page.with_friends := with_friends[n];
        select coalesce(listed.model_version, model_versions[n]), listed.propensities,
               listed.features,
               coalesce((select g.arm from seda.generations g
                         where g.generation = page.generation), 'control'),
               exists (
                   select from seda.impression_pages p
                   where p.user_id = page.user_id and p.surface = page.surface
                     and p.entity_type = page.entity_type and not p.again
                     and p.positions[1] / 10 = page.positions[1] / 10
                     and p.shown_at > page.shown_at - interval '10 minutes'
                     and p.shown_at <= page.shown_at)
        into page.model_version, page.propensities, page.features, page.arm, page.again
        from (select) nothing
        left join lateral (
            select max(r.model_version) as model_version,
                   case when bool_or(r.context ? 'exploration') then array_agg(coalesce(
                       (r.context -> 'exploration' ->> 'propensity')::real, 1)) end
                       as propensities,
                   case when count(r.signals) = count(*) then array_agg(r.signals)
                       filter (where r.signals is not null) end as features
            from (select s.model_version, s.context, s.signals
                  from seda.recommendations s
                  where s.generation = page.generation and s.user_id = page.user_id
                    and s.id = any (ids)
                  order by array_position(ids, s.id)) r
            having count(*) = cardinality(ids)
        ) listed on true;
        pages := array_append(pages, page);
    end loop;
    -- Readiness asks with no page, where nothing may be written.
    if pages is not null then
        insert into seda.impression_pages select p.* from unnest(pages) p;
    end if;
end
$$;
revoke execute on function seda.record_pages(uuid[], text[], text[], timestamptz[], text[], bigint[],
    text[], text[], text[], text[], text[], text[]) from public;
grant execute on function seda.record_pages(uuid[], text[], text[], timestamptz[], text[], bigint[],
    text[], text[], text[], text[], text[], text[]) to seda_api;
