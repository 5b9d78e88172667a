-- What dbt_like_sql/kpis/ fills: counts by day, model version and arm, of nobody in particular. They
-- stay when the pages and events that they were counted from have been purged.
create table seda.daily_impressions (
    day date not null,
    model_version text not null,
    arm text not null,
    entity_type text not null check (entity_type in ('room', 'playlist', 'artist')),
    with_friends boolean not null,
    shown bigint not null check (shown >= 0),
    known_novelty bigint not null check (known_novelty between 0 and shown),
    new bigint not null check (new between 0 and known_novelty),
    opened bigint not null check (opened between 0 and shown),
    tried bigint not null check (tried between opened and shown),
    listened bigint not null check (listened between 0 and tried),
    skipped bigint not null check (skipped between 0 and tried),
    dismissed bigint not null check (dismissed between 0 and shown),
    primary key (day, model_version, arm, entity_type, with_friends)
);

create table seda.daily_sessions (
    day date not null,
    model_version text not null,
    arm text not null,
    sessions bigint not null check (sessions > 0),
    active bigint not null check (active between 0 and sessions),
    primary key (day, model_version, arm)
);

do $$
declare
    name text;
begin
    foreach name in array array[
        'kpi_active_sessions', 'kpi_listens_30s', 'kpi_skips', 'kpi_click_through',
        'kpi_dismissals', 'kpi_novelty', 'kpi_social_lift', 'kpi_retention_d7']
    loop
        execute format('create table seda.%I (
            day date not null, model_version text not null, arm text not null,
            numerator bigint not null check (numerator between 0 and denominator),
            denominator bigint not null,
            primary key (day, model_version, arm))', name);
        execute format('grant select, insert, update, delete on seda.%I to service_role', name);
    end loop;
end
$$;
-- The same fraction of what was shown without friends, to compare with.
alter table seda.kpi_social_lift
    add base_numerator bigint not null check (base_numerator between 0 and base_denominator),
    add base_denominator bigint not null;
grant select, insert, update, delete on seda.daily_impressions, seda.daily_sessions to service_role;
