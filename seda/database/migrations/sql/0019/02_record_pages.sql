-- What seda.record_impressions does, for less: items of all pages come in one array each and not as
-- text, what the person's lists hold of them is found in one pass of the index, and all rows are
-- inserted together. `lengths` says how many items each page has; is_new is what the list says, null
-- where no list does. The old function stays for processes of the version before.
create function seda.record_pages(
    user_ids uuid[], surfaces text[], request_ids text[], moments timestamptz[],
    entity_types text[], generations bigint[], model_versions text[], lengths integer[],
    positions integer[], recommendation_ids uuid[], entity_ids uuid[], is_new boolean[],
    with_friends boolean[]
) returns void
language plpgsql volatile security definer set search_path = ''
-- A plan that was made while a partition was empty is kept: it must not read the whole of it.
set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
declare
    pages seda.impression_pages[];
    page seda.impression_pages;
    first integer := 1;
    last integer;
    ids uuid[];
begin
    -- One at a time opens one partition of the lists.
    for n in 1 .. cardinality(user_ids) loop
        last := first + lengths[n] - 1;
        ids := recommendation_ids[first:last];
        page.id := gen_random_uuid();
        page.user_id := user_ids[n];
        page.entity_type := entity_types[n];
        page.generation := generations[n];
        page.surface := surfaces[n];
        page.request_id := request_ids[n];
        page.shown_at := moments[n];
        page.positions := positions[first:last];
        page.recommendation_ids := ids;
        page.entity_ids := entity_ids[first:last];
        page.is_new := case when is_new[first] is not null then is_new[first:last] end;
        page.with_friends := case when true = any (with_friends[first:last])
                             then with_friends[first:last] end;
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
        first := last + 1;
    end loop;
    -- Readiness asks with no page, where nothing may be written.
    if pages is not null then
        insert into seda.impression_pages select p.* from unnest(pages) p;
    end if;
end
$$;
revoke execute on function seda.record_pages(uuid[], text[], text[], timestamptz[], text[],
    bigint[], text[], integer[], integer[], uuid[], uuid[], boolean[], boolean[]) from public;
grant execute on function seda.record_pages(uuid[], text[], text[], timestamptz[], text[],
    bigint[], text[], integer[], integer[], uuid[], uuid[], boolean[], boolean[]) to seda_api;
