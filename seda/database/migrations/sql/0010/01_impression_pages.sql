-- What a page showed of one list, in one row: fifty rows with two index entries each cost a request
-- more than reading the list, and a tenth of the space holds them so. `impressions` is the view of
-- the items, with a row for each as before.
--
-- Arrays have an element per item. features is (items, inputs), or null where there are none;
-- propensities is null where every item stood where it did by its merit (1). again says that the
-- person had been shown this page within ten minutes before: a feed that follows friends by the second
-- is read again and again, which is no further showing in vain.
create table seda.impression_pages (
    id uuid not null,
    user_id uuid not null,
    entity_type text not null check (entity_type in ('room', 'playlist', 'artist')),
    generation bigint,
    model_version text not null,
    arm text not null default 'control',
    surface text not null,
    request_id text,
    shown_at timestamptz not null,
    positions integer[] not null check (1 <= all (positions)),
    recommendation_ids uuid[] not null,
    entity_ids uuid[] not null,
    propensities real[] check (0 < all (propensities) and 1 >= all (propensities)),
    features real[],
    again boolean not null default false,
    primary key (user_id, shown_at, id),
    check (cardinality(positions) > 0
           and cardinality(recommendation_ids) = cardinality(positions)
           and cardinality(entity_ids) = cardinality(positions)
           and coalesce(cardinality(propensities), cardinality(positions)) = cardinality(positions)
           and coalesce(array_length(features, 1), cardinality(positions)) = cardinality(positions))
) partition by range (shown_at);
-- However often a page is read again, what was shown is found at once.
create index idx_impression_pages_first on seda.impression_pages (user_id, shown_at) where not again;
create table seda.impression_pages_default partition of seda.impression_pages default
    -- A row is read whole or by its ids: nothing is compressed, and little moved elsewhere.
    with (toast_tuple_target = 8160);
alter table seda.impression_pages
    alter recommendation_ids set storage main, alter entity_ids set storage main,
    alter features set storage main;
alter table seda.impression_pages_default
    alter recommendation_ids set storage main, alter entity_ids set storage main,
    alter features set storage main;

do $$
declare
    name text;
begin
    foreach name in array array['impression_pages', 'impression_pages_default'] loop
        execute format('alter table seda.%I enable row level security', name);
        execute format('alter table seda.%I force row level security', name);
        execute format('grant select, insert, update, delete on seda.%I to service_role', name);
    end loop;
end
$$;
create policy own_select on seda.impression_pages for select to authenticated
    using (user_id = (select seda.current_user_id()));
grant select on seda.impression_pages to authenticated;

insert into seda.impression_pages (id, user_id, entity_type, generation, model_version, arm, surface,
    request_id, shown_at, positions, recommendation_ids, entity_ids, propensities, features)
select gen_random_uuid(), user_id, entity_type, generation, model_version, arm, surface, request_id,
       shown_at, array_agg(position order by position),
       array_agg(recommendation_id order by position), array_agg(entity_id order by position),
       nullif(array_agg(propensity order by position), array_fill(1::real, array[count(*)::int])),
       array_agg(features order by position) filter (where width > 0)
-- Items with other inputs, or without, are apart: the arrays of one row are alike.
from (select *, coalesce(array_length(features, 1), 0) as width from seda.impressions) i
group by user_id, entity_type, generation, model_version, arm, surface, request_id, shown_at, width;

drop function seda.record_impressions(uuid[], text[], text[], timestamptz[], integer[], integer[],
    uuid[], text[], uuid[], bigint[], text[]);
drop table seda.impressions;
create view seda.impressions with (security_invoker = true) as
select p.id as page_id, p.user_id, i.recommendation_id, p.generation, p.entity_type, i.entity_id,
       p.surface, i.position, coalesce(i.propensity, 1::real) as propensity,
       case when p.features is not null then
           array(select unnest(p.features[i.place:i.place])) end as features,
       p.model_version, p.arm, p.request_id, p.shown_at, p.again
from seda.impression_pages p
cross join lateral unnest(p.positions, p.recommendation_ids, p.entity_ids, p.propensities)
    with ordinality as i(position, recommendation_id, entity_id, propensity, place);
grant select on seda.impressions to authenticated, service_role;

-- Pages that were served, of several people at once, in one commit. Only the API's own login may
-- call it: a person could otherwise record what others saw. The API passes the ids of people that
-- their own transactions, under row-level security, gave it.
--
-- An element per page and list; of what a list has many, an element is an array as text, which is
-- cheaper to send. Features and propensities are copied from the generation that was shown, and the
-- model version, where it has rows for all.
create function seda.record_impressions(
    user_ids uuid[], surfaces text[], request_ids text[], moments timestamptz[],
    entity_types text[], generations bigint[], model_versions text[], positions text[],
    recommendation_ids text[], entity_ids text[]
) returns void
language plpgsql volatile security definer set search_path = '' as $$
begin
    -- One at a time opens one partition.
    for page in 1 .. cardinality(user_ids) loop
        insert into seda.impression_pages (id, user_id, entity_type, generation, model_version,
            surface, request_id, shown_at, positions, recommendation_ids, entity_ids, propensities,
            features, again)
        select gen_random_uuid(), user_ids[page], entity_types[page], generations[page],
               coalesce(r.model_version, model_versions[page]), surfaces[page], request_ids[page],
               moments[page], shown.places, shown.ids, entity_ids[page]::uuid[],
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
revoke execute on function seda.record_impressions(uuid[], text[], text[], timestamptz[], text[],
    bigint[], text[], text[], text[], text[]) from public;
grant execute on function seda.record_impressions(uuid[], text[], text[], timestamptz[], text[],
    bigint[], text[], text[], text[], text[]) to seda_api;
