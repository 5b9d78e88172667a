-- What a sensor has seen: a run that failed, a share of the month's budget that was reached, a model
-- whose lists are to be computed. The key makes a second look at the same thing no second notice.
create table seda.notices (
    id bigint generated always as identity primary key,
    kind text not null check (kind in ('run_failure', 'spend', 'model_version')),
    key text not null,
    said text not null,
    facts jsonb not null default '{}',
    noticed_at timestamptz not null,
    unique (kind, key)
);

alter table seda.notices enable row level security;
alter table seda.notices force row level security;
grant select, insert, update, delete on seda.notices to service_role;
