-- Page by page as it was: an item again has a row of its own.
create table seda.impressions_as_rows (
    id uuid not null,
    user_id uuid not null,
    recommendation_id uuid not null,
    generation bigint,
    entity_type text not null check (entity_type in ('room', 'playlist', 'artist')),
    entity_id uuid not null,
    surface text not null,
    position integer not null check (position >= 1),
    propensity real not null default 1 check (propensity > 0 and propensity <= 1),
    features real[],
    model_version text not null,
    arm text not null default 'control',
    request_id text,
    shown_at timestamptz not null,
    primary key (shown_at, id)
) partition by range (shown_at);
create table seda.impressions_default partition of seda.impressions_as_rows default;
insert into seda.impressions_as_rows
select md5(page_id::text || position)::uuid, user_id, recommendation_id, generation, entity_type,
       entity_id, surface, position, propensity, features, model_version, arm, request_id, shown_at
from seda.impressions;
drop function seda.record_impressions(uuid[], text[], text[], timestamptz[], text[], bigint[],
    text[], text[], text[], text[]);
drop view seda.impressions;
drop table seda.impression_pages;
alter table seda.impressions_as_rows rename to impressions;
create index idx_impressions_user on seda.impressions (user_id, shown_at);
do $$
declare
    name text;
begin
    foreach name in array array['impressions', 'impressions_default'] loop
        execute format('alter table seda.%I enable row level security', name);
        execute format('alter table seda.%I force row level security', name);
        execute format('grant select, insert, update, delete on seda.%I to service_role', name);
    end loop;
end
$$;
create policy own_select on seda.impressions for select to authenticated
    using (user_id = (select seda.current_user_id()));
create policy own_insert on seda.impressions for insert to authenticated
    with check (user_id = (select seda.current_user_id()));
grant select, insert on seda.impressions to authenticated;
